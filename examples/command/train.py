"""A script that knows nothing of pipelines: it fits a line to the points of a CSV file."""

import argparse
import csv
import json
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path, required=True)
parser.add_argument("--out", type=Path, required=True)
parser.add_argument("--ridge", type=float, default=0.0)
asked = parser.parse_args()

with asked.data.open() as file:
    points = [(float(row["x"]), float(row["y"])) for row in csv.DictReader(file)]
x, y = (sum(values) / len(points) for values in zip(*points, strict=True))
above = sum((a - x) * (b - y) for a, b in points)
slope = above / (sum((a - x) ** 2 for a, _ in points) + asked.ridge)
error = sum((b - y - slope * (a - x)) ** 2 for a, b in points) / len(points)
print(f"{len(points)} points, slope {slope:.3f}, error {error:.3f}")

asked.out.write_text(json.dumps({"slope": slope, "intercept": y - slope * x}))
Path("metrics.json").write_text(json.dumps({"error": error, "model": {"slope": slope}}))
