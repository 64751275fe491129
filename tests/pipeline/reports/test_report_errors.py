"""The report's section of errors: names of classes in place of numbers, the figures of `pipeline.analysis.errors`."""

from html import escape

import numpy as np

from pipeline.analysis import errors
from pipeline.reports import page
from tests.support.stores import given_columns

CELL, DRAWS, NAMES = "resnet50-bart2-pgd", 20, ["<b>ant</b>", "bee", "cat"]
MADE = {"device": "cpu", "commit": "c", "versions": "{}"}


def test_errors_are_shown_by_name_and_are_those_of_the_analysis(tmp_path):
    label, images = np.arange(30) % 3, 30
    job = given_columns.planned(tmp_path / "store", images, (2,), data={"shards": "none/val-000000.tar", "classes": NAMES})
    right = np.random.default_rng(0).random((images, DRAWS)) < 0.4
    said = np.where(right, label[:, None], (label[:, None] + 1) % 3)
    rows = given_columns.verdicts("clean", label, np.repeat(label[:, None], DRAWS, 1)) | given_columns.verdicts(
        "adv", label, said
    )
    margins = np.linspace(0.05, 0.95, images).round(2)
    rows |= {"clean_margin": margins, "gradient_norm": 0.0123, "zero_gradients": 0}
    given_columns.commit(job, CELL, label=label, **MADE, **rows)
    content = page.write(job.store, tmp_path / "report.html")
    found, text = errors.errors(job.store, CELL), (tmp_path / "report.html").read_text()
    assert content.errors == {CELL: found | {"pairs": content.errors[CELL]["pairs"]}}
    section = text[text.index('<section id="errors">') : text.index('<section id="checks">')]
    assert '<a href="#errors">' in text and "<b>ant" not in text
    pairs = {(name, NAMES[(i + 1) % 3]): found["confusion"]["counts"][i][(i + 1) % 3] for i, name in enumerate(NAMES)}
    assert {(name, other): times for name, other, times in content.errors[CELL]["pairs"]} == pairs
    for (name, other), times in pairs.items():
        assert f'<tr><th scope="row">{escape(name)}</th><td class="text">{escape(other)}</td><td>{times}</td></tr>' in section
    for line in found["parts"]:
        assert f"{100 * line['difference']:+.1f} <small>{100 * line['low']:+.1f} to {100 * line['high']:+.1f}" in section
    assert all(f"<td>{100 * line['adv']:.1f} <small>" in section for line in found["margins"]) and len(found["margins"]) == 10
    assert f"{found['always_broken']['images']} are broken by every attack" in section and "of the length 0.012" in section


def test_a_store_without_attacked_images_has_no_errors(tmp_path):
    job = given_columns.planned(tmp_path / "store", 2)
    given_columns.commit(
        job, CELL, status="bad_image", error="truncated", evaluation_draws=None, device="cpu", commit="c", versions="{}"
    )
    assert page.write(job.store, tmp_path / "report.html").errors == {}
    assert 'id="errors"' not in (tmp_path / "report.html").read_text()
