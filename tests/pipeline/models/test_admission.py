"""Check how models of strangers are received: refused in one line, or changed with a remark, or taken; each made by code."""

import os
import warnings

import pytest
import torch

from bart import LOSSES
from bart.diagnostics.blindness import CAUSES, causes
from pipeline.campaigns.prepare import prepare
from pipeline.config.campaign import parse
from pipeline.errors import BadInput, Remark
from pipeline.models import admission, factories, loading
from tests.support import stochastic, strangers, tiny

MEAN = {"mean": [0.5] * 3, "std": [0.25] * 3}
GRADIENT = {"pgd": {"eps": "8/255", "steps": 2, "step_size": "2/255", "eot_draws": 1}}
VALUES = {"square": {"kind": "square", "eps": "8/255", "steps": 2, "eot_draws": 1}}


def job(pattern, place, name, attacks=GRADIENT, **model):
    """Return the job of a campaign with the stranger's model of this name; collect what is said."""
    section = {"architecture": f"tests.support.strangers:{name}", "classes": tiny.CLASSES} | MEAN | model
    cells = [{"model": "net", "defense": "none", "attack": list(attacks)}]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = prepare(parse(tiny.campaign(pattern, models={"net": section}, attacks=attacks, cells=cells), "c"), str(place))
    return found, [str(warning.message) for warning in said if issubclass(warning.category, Remark)]


REFUSED = {
    "needs_arguments": "expected a function without arguments",
    "raises": "raised KeyError: 'no such",
    "raises_no_exception": "raised Odd: stop",
    "exits": "raised SystemExit: usage",
    "one_at_a_time": "can't take two images at once",
    "pools_the_batch": "1 rows of logits for two images",
    "absent": "has no attribute 'absent'",
    "TwoArguments": "can't be called with images alone",
    "Sized": "cannot take images of 32 px .*Expected 224",
    "random": r"draws random numbers \(torch's random\) in eval mode, and one draw would judge it.*kind: module",
    "seldom_random": r"draws random numbers \(torch's random\)",
    "seldom_random_by_numpy": r"draws random numbers \(NumPy's random\)",
    "seldom_random_by_python": r"draws random numbers \(Python's random\)",
    "SeldomRandomByItsOwn": r"draws random numbers \(torch's random\)",
    "SeldomRandomByNumpysOwn": r"draws random numbers \(NumPy's random\)",
    "SeldomRandomByPythonsOwn": r"draws random numbers \(Python's random\)",
    "random_by_the_system": "the same image other logits in a second pass, and one draw would judge it.*kind: module",
    "Remembering": "the same image other logits in a second pass.*if it keeps a state, reset that in each pass",
    "untrained": "makes another network in each call",
    "with_other_pixels_each_time": "makes another network in each call",
    "dropout_left_on": "Dropout drop stays in training mode.*kind: module",
    "noise_left_on": "Noise 0 stays in training mode.*kind: module",
    "seldom_noise_left_on": "SeldomNoise 0 stays in training mode.*kind: module",
    "rrelu_left_on": "RReLU 0 stays in training mode.*kind: module",
    "new_head_with_dropout": "1 stays in training mode.*kind: module",
    "AlwaysDropping": "Dropout drop stays in training mode.*kind: module",
    "batch_norm_left_on": "BatchNorm2d 1 stays in training mode",
    "batch_norm_without_statistics": "has no running statistics",
    "dependent_on_larger_batches": "other logits beside another image",
    "batch_dependent": "other logits beside another image",
    "quantised": "quantisation",
    "quantised_finely": "quantisation",
    "binarised": "quantisation",
    "WithoutGradient": "masked",
    "detached": "masked",
    "clamped": "clamp",
    "saturated": "saturation.*the loss margin",
    "softmax": "leave out the softmax",
    "sigmoid": "leave out the sigmoid",
    "nan_weights": "NaN or infinite values in 0.weight",
    "nan_logits": "NaN or infinite logits",
    "nan_gradient": "gradient not finite",
    "lazy": "no weights yet in 1.weight, which is lazy",
    "on_meta": "on the meta device",
    "double_inside": "cannot take images.*float32",
    "Unhelpful": "no backward here",
    "scripted": "give a plain torch module, no script",
    "traced": "give a plain torch module, no script",
    "talks_nonsense": "123.7: expected at least 0 and at most 1.*divide by 255",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_whose_numbers_would_be_wrong_is_refused_in_one_line(pattern, tmp_path, name):
    model = {} if name != "talks_nonsense" else {"mean": None, "std": None}
    with pytest.raises(BadInput, match=REFUSED[name]) as error:
        job(pattern, tmp_path / "store", name, **model)
    assert "\n" not in str(error.value) and ":" in str(error.value) and len(str(error.value)) < 500
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", ["quantised", "quantised_finely", "detached", "saturated", "Unhelpful", "nan_gradient"])
def test_an_attack_that_needs_no_gradient_takes_a_model_without_one(pattern, tmp_path, name):
    assert job(pattern, tmp_path / "store", name, VALUES)


SAID = {
    "half": "in float32 instead of float16",
    "bfloat16": "in float32 instead of bfloat16",
    "double": "in float32 instead of float64",
    "compiled": "without its compiler",
    "compiled_inside": "without its compiler",
    "compiled_in_place": "without its compiler",
    "compiled_by_its_forward": "without its compiler",
    "normalises": "has a module Normalise, and its images are normalised before",
    "positive_cosines": "values of 0 to 1, not logits",
}


@pytest.mark.parametrize("name", SAID)
def test_what_is_changed_about_a_model_is_said(pattern, tmp_path, name):
    _, said = job(pattern, tmp_path / "store", name)
    assert any(SAID[name] in line for line in said), said


def test_probabilities_are_said_where_no_gradient_is_followed(pattern, tmp_path):
    _, said = job(pattern, tmp_path / "store", "softmax", VALUES)
    assert any("returns probabilities" in line for line in said)


SOUND = [
    "Viewing", "Constants", "changes_its_images", "usual_dropout", "frozen_backbone_with_new_head", "new_head", "new_stem",
    "seeded", "log_softmax",
    "weight_norm", "weight_norm_of_today", "spectral_norm", "pruned",
]  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_model_comes_in_in_silence_and_gives_its_own_logits(pattern, tmp_path, name):
    found, said = job(pattern, tmp_path / "store", name)
    assert said == []
    cell = next(iter(found.cells.values()))
    torch.manual_seed(1)
    wrapped = loading.classifier(cell.model, 32, torch.device("cpu"))
    torch.manual_seed(1)
    plain = factories.called(cell.model.architecture).eval()
    x = admission.probes(32)
    with torch.no_grad():
        torch.testing.assert_close(wrapped(x), plain((x.clone() - 0.5) / 0.25), rtol=1e-4, atol=1e-4)


def test_what_a_function_sets_for_the_process_is_undone(pattern, tmp_path):
    filters, folder = list(warnings.filters), os.getcwd()
    factories.called("tests.support.strangers:sets_the_process")
    assert (list(warnings.filters), os.getcwd(), torch.is_grad_enabled()) == (filters, folder, True)
    _, said = job(pattern, tmp_path / "store", "sets_the_process", mean=None, std=None)
    assert any("ImageNet's are taken" in line for line in said)


def test_weights_on_another_device_are_said_and_moved(monkeypatch):
    network = tiny.network()
    monkeypatch.setattr(factories, "module_of", lambda architecture, what: network)
    monkeypatch.setattr(torch.Tensor, "device", property(lambda self: torch.device("cuda")))
    with pytest.warns(Remark, match="moved to each worker's device"):
        factories.called("x:y")


def test_a_model_says_its_own_preprocessing(pattern, tmp_path):
    content = tiny.campaign(pattern, data={"shards": pattern})
    content["models"] = {"net": {"architecture": "tests.support.strangers:knows_itself", "classes": tiny.CLASSES}}
    with warnings.catch_warnings():
        warnings.simplefilter("error", Remark)
        model = prepare(parse(content, "c"), str(tmp_path / "store")).campaign.models["net"]
    assert model.mean == (0.1, 0.2, 0.3) and model.std == (1, 1, 1)
    assert (model.resize, model.crop, model.interpolation) == (40, 32, "bilinear")


def test_imagenets_normalisation_is_never_taken_in_silence(pattern, tmp_path):
    _, said = job(pattern, tmp_path / "store", "Viewing", mean=None, std=None)
    assert any("does not say its mean and std: ImageNet's are taken" in line for line in said)


@pytest.mark.parametrize(
    ("key", "value"),
    [("mean", [123.675, 116.28, 103.53]), ("std", [58.395, 57.12, 57.375]), ("std", [0, 1, 1]), ("std", [-0.2, 1, 1]),
     ("mean", [-0.1, 0, 0])],
)  # fmt: skip
def test_a_normalisation_of_other_images_is_refused(pattern, key, value):
    content = tiny.campaign(pattern)
    content["models"]["net"][key] = value
    with pytest.raises(BadInput, match=rf"models.net.{key}: {value[0]:g}: expected .*divide by 255"):
        parse(content, "c.yaml")


def test_a_normalisation_that_is_no_number_is_refused(pattern):
    content = tiny.campaign(pattern)
    content["models"]["net"]["mean"] = [float("nan"), 0, 0]
    with pytest.raises(BadInput, match=r"models.net.mean.0: nan: input should be a finite number"):
        parse(content, "c.yaml")


# What hides a gradient, on a model each; the truth is how the model was made.

HIDES = {
    "random": "random", "nan_logits": "logits not finite", "nan_gradient": "gradient not finite", "saturated": "saturation",
    "clamped": "clamp", "quantised": "quantisation", "quantised_finely": "quantisation", "detached": "masked", "Viewing": "",
}  # fmt: skip


@pytest.mark.parametrize("name", HIDES)
def test_the_causes_of_a_missing_gradient_are_told_apart(name):
    network, x = getattr(strangers, name)().eval(), admission.probes(32)
    found = causes(network, x, network(x).argmax(1), LOSSES["ce"])
    assert found == [HIDES[name]] * 3 and set(found) <= {"", *CAUSES}


def test_a_margin_sees_through_saturation():
    network, x = strangers.saturated().eval(), admission.probes(32)
    assert causes(network, x, network(x).argmax(1), LOSSES["margin"]) == [""] * 3


STRANGERS, STOCHASTIC = "tests.support.strangers:", "tests.support.stochastic:"


def behind(pattern, place, architecture, **defense):
    """Return the job of a campaign with a stranger's model behind a defense, and what is said."""
    section = {"architecture": architecture, "classes": tiny.CLASSES} | MEAN
    content = tiny.campaign(
        pattern, models={"net": section}, defenses={"mine": defense}, attacks=GRADIENT,
        cells=[{"model": "net", "defense": "mine", "attack": "pgd"}],
    )  # fmt: skip
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        prepare(parse(content, "c"), str(place))
    return [str(warning.message) for warning in said if issubclass(warning.category, Remark)]


TAKEN = [
    "random", "seldom_random", "seldom_random_by_numpy", "seldom_random_by_python", "SeldomRandomByItsOwn", "dropout_left_on",
    "AlwaysDropping", "noise_left_on", "rrelu_left_on", "new_head_with_dropout",
]  # fmt: skip
"""Models that are refused where one draw judges them, and whose random numbers can be had from keys."""


@pytest.mark.parametrize("name", TAKEN)
def test_a_random_model_is_taken_as_a_module_defense(pattern, tmp_path, name):
    said = behind(pattern, tmp_path, STRANGERS + name, kind="module")
    assert all("images run one by one" in line for line in said)


@pytest.mark.parametrize("wrong", [0, 1e-6, 0.2])
def test_a_model_that_draws_is_refused_however_seldom_it_matters(pattern, tmp_path, wrong, monkeypatch):
    """Passes may all be the same: it is found by its generator, and none that matters never can be told from one that may."""
    monkeypatch.setattr(stochastic, "lucky", lambda: stochastic.Lucky(wrong))
    with pytest.raises(BadInput, match="kind: module"):
        behind(pattern, tmp_path, STOCHASTIC + "lucky", k=0)


NEVER = {
    "untrained": (STRANGERS + "untrained", {"kind": "module"}, "makes another network in each call"),
    "system": (STRANGERS + "random_by_the_system", {"kind": "module"}, "draws that can't be had from keys"),
    "seeded": (STRANGERS + "seeded", {"kind": "module"}, "seeds torch's generator by itself"),
    "batch_norm_left_on": (STRANGERS + "batch_norm_left_on", {"kind": "module"}, "BatchNorm2d 1 stays in training mode"),
    "batch_dependent": (STRANGERS + "batch_dependent", {"kind": "module"}, "other logits beside another image"),
    "unknown": (None, {"kind": "module", "module": STOCHASTIC + "unknown"}, "draws by strangers.shake, which can't be"),
    "unseen": (None, {"kind": "module", "module": STOCHASTIC + "unseen"}, "draws that can't be had from keys"),
    "absent": (None, {"kind": "module", "module": STOCHASTIC + "nothing"}, "module tests.support.stochastic:nothing"),
    "no module": (None, {"kind": "module", "module": "tests.support.tiny:campaign_of_nothing"}, "returned dict, expected a"),
    "not allowed": (None, {"kind": "module", "module": "os.path:join"}, "os.path:join runs code of os.path"),
    "layer": (None, {"kind": "feature_noise", "layers": "conv1", "sigma": 0.1}, "no layer of .* is called 'conv1'"),
    "weights": (None, {"kind": "feature_noise", "layers": ["2"], "sigma": 0.1, "at": "weight"}, "ReLU has no weights"),
    "identity": (None, {"kind": "module", "gradient": "identity"}, "name it, or leave gradient out"),
    "steps": (None, {"kind": "purifier", "module": "a.b:c", "timestep": 5, "steps": 6}, "expected at most timestep 5"),
    "place": (None, {"kind": "purifier", "module": "a.b"}, "module"),
}  # fmt: skip
"""(architecture, defense, what is refused), by a name."""


@pytest.mark.parametrize("name", NEVER)
def test_a_defense_that_cannot_be_had_from_keys_is_refused_in_one_line(pattern, tmp_path, name):
    architecture, defense, said = NEVER[name]
    with pytest.raises(BadInput, match=said) as error:
        behind(pattern, tmp_path, architecture or "tests.support.tiny:network", **defense)
    assert "\n" not in str(error.value)


def test_what_is_slow_or_draws_nothing_is_said(pattern, tmp_path):
    (said,) = behind(pattern, tmp_path / "a", "tests.support.tiny:network", kind="module", module=STOCHASTIC + "dimmed")
    assert "Python's random knows nothing of images, so images run one by one" in said
    (said,) = behind(pattern, tmp_path / "b", "tests.support.tiny:network", kind="module")
    assert "draws nothing, so all its draws are the same" in said
