"""Read and write files that are whole or absent, on a disk or in a bucket.

- `files`: what every folder of files can do
- `disk`, `bucket`: folders on a disk or NFS; objects behind s3://, gs://, az:// and https:// URLs
- `urls`: from a path or URL to its folder; patterns
"""

__all__ = ["bucket", "disk", "files", "urls"]
