"""What a person has: a script that reads a file, and writes a model and its metrics."""

import argparse
import json
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
parser.add_argument("--data", type=Path)
parser.add_argument("--out", type=Path)
parser.add_argument("--note")
asked = parser.parse_args()

lines = asked.data.read_text().splitlines()
print("training on", len(lines), "lines", repr(asked.note))
asked.out.write_text(str(len(lines) * asked.lr))
Path("metrics.json").write_text(json.dumps({"auc": asked.lr * 2, "loss": [3, 2.5, 1], "val": {"acc": 0.5, "by": "me"}}))
