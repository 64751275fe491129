"""Make a synthetic store as plain values: rows with votes, and what the page shows besides, counted from these rows."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from pipeline.scoring.intervals import wilson

RULES = {
    "single": "The share of right draws: the expected accuracy of one draw.",
    "persistent": "Right only if every draw is right: an attacker may ask again.",
}
CLASSES = ("disc", "ring", "square", "frame", "cross", "stripes", "checks", "dots")
PARTS = ("blur", "noise", "jpeg", "colour", "zoom", "swirl", "contrast", "grey")
SETTINGS = [("none", 0), ("bart3", 3), ("bart5", 5), ("bart8", 8)]
ATTACKS = [("pgd", 40, 1), ("eot-pgd", 40, 10), ("aggmo", 100, 20)]
DRAWS = 20
EPS = 8 / 255
TRACEBACK = 'Traceback (most recent call last):\n  File "unit.py", line 1, in step\nMemoryError: CUDA out of memory'


@dataclass(frozen=True)
class Synthetic:
    """A store of `images` images in twelve cells; `harder` lowers what its defenses leave, `done` is the share of units."""

    id: str = "0"
    name: str = "shapes"
    images: int = 240
    seed: int = 1
    harder: float = 0.0
    done: float = 1.0
    hostile: str = ""

    @cached_property
    def cells(self):
        return [
            {"cell": f"tiny-{defense}-{attack}", "model": "tiny", "defense": defense, "attack": attack, "norm": "linf",
             "eps": EPS, "k": k, "steps": steps, "eot_draws": draws, "evaluation_draws": DRAWS if k else 1}
            for defense, k in SETTINGS for attack, steps, draws in ATTACKS
        ]  # fmt: skip

    @cached_property
    def rows(self):
        """The rows as a table, with the shares under each rule as `clean_single_1` and so on."""
        return pa.concat_tables([self._of_cell(place, cell) for place, cell in enumerate(self.cells)])

    def _of_cell(self, place, cell):
        n, draws = int(self.images * self.done), cell["evaluation_draws"]
        image = np.random.default_rng(self.seed)
        hard, label = image.beta(2, 2, self.images)[:n], image.integers(len(CLASSES), size=self.images)[:n]
        rng = np.random.default_rng([self.seed, place])
        power = {"pgd": 0.1, "eot-pgd": 0.35, "aggmo": 0.5}[cell["attack"]] + self.harder
        left = 0.0 if cell["k"] == 0 else np.clip(0.15 + 0.1 * cell["k"] - power, 0, 1)
        clean = rng.binomial(draws, np.clip(1.12 - 0.3 * hard - 0.02 * cell["k"], 0, 1))
        adv = rng.binomial(draws, np.clip(left * (1.8 - 1.6 * hard), 0, 0.97))
        failed = rng.random(n) < 0.02
        other = (label + rng.choice([1, 1, 2, 5], n)) % len(CLASSES)
        ok = np.where(failed, np.nan, 1.0)
        top5 = {1: (clean, adv), 5: (np.maximum(clean, draws - 1), np.minimum(adv + draws // 3, draws))}
        shares = {}
        for top, (c, a) in top5.items():
            for side, counts in (("clean", c), ("adv", a)):
                shares[f"{side}_single_{top}"] = counts / draws * ok
                shares[f"{side}_persistent_{top}"] = (counts == draws) * ok
        adv_class = np.where(adv * 2 > draws, label, other)
        number = np.arange(n)

        def numbers(values):
            return pa.array(np.asarray(values, float) * ok, from_pandas=True)

        def whole(values):
            return pa.array(values, pa.int32(), mask=failed)

        def texts(values):
            return pa.array(values, pa.string())

        columns = {
            **{name: pa.array([cell[name]] * n) for name in ("cell", "model", "defense", "attack", "k", "norm", "eps")},
            "shard": texts([f"shapes-{i // 100:06d}.tar" for i in number]),
            "image_key": texts([f"{self.hostile}{CLASSES[label[i]]}-{i:04d}" for i in number]),
            "label": pa.array(label, pa.int32()), "label_name": texts([CLASSES[i] for i in label]),
            "target": pa.nulls(n, pa.int32()),
            "clean_class": whole(label), "clean_class_name": pa.array([CLASSES[i] for i in label], mask=failed),
            "adv_class": whole(adv_class), "adv_class_name": pa.array([CLASSES[i] for i in adv_class], mask=failed),
            "status": texts(["decode" if bad else "ok" for bad in failed]),
            "error": texts([f"{self.hostile}truncated JPEG" if bad else None for bad in failed]),
            "evaluation_draws": pa.array(np.full(n, draws), pa.int32()),
            "linf": numbers(np.full(n, EPS)), "l2": numbers(3 + 2 * rng.random(n)),
            "first_break": pa.array(rng.integers(1, 40, n), pa.int32(), mask=failed | (adv * 2 > draws)),
            "zero_gradients": whole(np.zeros(n, int)), "nonfinite_gradients": whole(np.zeros(n, int)),
            "gradient_norm": numbers(10 ** rng.normal(-2, 0.6, n)),
            "clean_margin": numbers(3 * (1 - hard) + rng.normal(0, 0.3, n)), "adv_margin": numbers(rng.normal(-0.5, 1.2, n)),
            "grad_evals": whole(np.full(n, cell["steps"] * cell["eot_draws"])), "forward_evals": whole(np.full(n, 2 * draws)),
            "seconds": numbers(0.02 * cell["steps"] * cell["eot_draws"] * (0.9 + 0.2 * rng.random(n))),
            "unit": texts([f"{cell['cell']}.{i // 40:04d}" for i in number]),
            "picture": pa.array(place * self.images + number, pa.int32()),
        }  # fmt: skip
        return pa.table(columns | {name: pa.array(values, from_pandas=True) for name, values in shares.items()})

    def rows_of(self, cell):
        """The columns of a cell's rows as lists."""
        table = self.rows.filter(pa.compute.equal(self.rows["cell"], cell))
        return {name: table[name].to_pylist() for name in table.column_names}

    @cached_property
    def content(self):
        """What api/stores.json says of the store."""
        cells, lines, history = [], [], {}
        for cell in self.cells:
            rows = self.rows_of(cell["cell"])
            failed = sum(status != "ok" for status in rows["status"])
            n, units = len(rows["status"]), -(-self.images // 40)
            cells.append(cell | {"units": units, "units_done": int(units * self.done), "images": self.images, "images_done": n,
                                 "failed": failed, "stopped": False, "blind": 0, "first_rows_at": None})  # fmt: skip
            lines += [_line(cell["cell"], rule, rows, failed) for rule in RULES]
            history[cell["cell"]] = list(_history(rows["adv_single_1"]))
        parked = [{"unit": "tiny-bart8-aggmo.0005", "cell": "tiny-bart8-aggmo", "tries": 3,
                   "error": f"{self.hostile}CUDA out of memory", "traceback": TRACEBACK}]  # fmt: skip
        half = self.done < 1
        failures = [
            {
                "status": "decode",
                "error": f"{self.hostile}truncated JPEG",
                "images": 5,
                "cells": 12,
                "example": f"{self.hostile}disc-0001",
            }
        ]
        return {
            "id": self.id, "name": f"{self.hostile}{self.name}", "place": f"stores/{self.name}", "problem": None,
            "complete": not half, "loading": None, "rows": len(self.rows), "images_per_second": 3.4 if half else None,
            "seconds_left": 5400.0 if half else None,
            "cells": cells, "lines": lines, "notes": ["failed: images that could not be attacked, in no rate"], "alarms": [],
            "parked": parked if half else [], "failures": failures,
            "checks": [{"cell": "tiny-bart5-pgd", "name": "undefended", "passed": True, "figures": "base 20.8, none 0.0",
                        "why": "nothing must be left"},
                       {"cell": "tiny-bart5-pgd", "name": "losses", "passed": False, "figures": "base 20.8, margin 17.1",
                        "why": "no other loss beats it"}],
            "machines": [{"device": "NVIDIA H100", "commit": "8c1f2a7d9e04", "versions": {"torch": "2.8", "python": "3.12"},
                          "images": len(self.rows), "hours": 3.21}],
            "curves": {"curves": self._curves(lines), "persistent": [], "certified": []}, "classes": list(CLASSES),
            "history": history,
            "pictures": True, "pictures_missing": None,
        }  # fmt: skip

    def _curves(self, lines):
        xs = {
            name: {c["cell"]: c["attack"] if name == "k" else c["defense"] for c in self.cells}
            for name in ("k", "draw_gradients")
        }
        of = {c["cell"]: {"k": c["k"], "draw_gradients": c["steps"] * c["eot_draws"]} for c in self.cells}
        return {
            "series": xs,
            "points": [line | {"x": of[line["cell"]], "defended": line["cell"], "l2": False} for line in lines],
        }


def _line(cell, rule, rows, failed):
    out = {"cell": cell, "rule": rule, "images": len(rows["status"]) - failed, "planned": None, "stopped": False,
           "failed": failed,
           "skipped": 0, "moved": 0, "blind": 0, "draw_gradients": sum(v or 0 for v in rows["grad_evals"]),
           "seconds": sum(v or 0 for v in rows["seconds"])}  # fmt: skip
    for side in ("clean", "adv"):
        for top in (1, 5):
            name = f"{side}_top{top}"
            out |= dict(zip((name, f"{name}_low", f"{name}_high"), rate(rows[f"{side}_{rule}_{top}"]), strict=True))
    return out | {"target_hits": None, "target_hits_low": None, "target_hits_high": None, "certified": None}


def rate(shares):
    """Rate and ends of its interval of some shares; None for no shares."""
    shares = [share for share in shares if share is not None]
    if not shares:
        return None, None, None
    value = float(np.mean(shares))
    return value, *wilson(value, len(shares))


def _history(shares):
    shares = np.array([share for share in shares if share is not None])
    for n in np.unique(np.linspace(8, len(shares), 30).astype(int)):
        value = float(shares[:n].mean())
        yield [int(n), value, *wilson(value, n)]
