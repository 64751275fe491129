"""Total variation denoising as Triton kernels. `transform.tv_chambolle` is the whole transform."""
