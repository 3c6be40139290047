"""A file of a shop, and what ``headrace init`` reads out of it or out of a changed one."""

from headrace.sources import inference, tabular
from headrace.sources.inference import Wishes

CSV = "when,shop,amount,colour,bought\n" + "".join(
    f"2024-01-{day:02d}T{hour:02d}:00:00Z,s{hour % 3},{(day * 7 + hour * 3) % 11},{'red' if (day + hour) % 2 else 'blue'},"
    f"{'yes' if (day * hour) % 3 == 0 else 'no'}\n"
    for day in range(1, 29)
    for hour in range(24)
)
SHOP = Wishes(key=["shop"], time="when", label="bought")


def sheet(tmp_path, text, name="data.csv", **how):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return tabular.read(path, **how)


def draft(tmp_path, text=CSV, wishes=SHOP, **how):
    return inference.infer(sheet(tmp_path, text, **how), wishes)


def wishes(**changes):
    return Wishes(**{"key": ["shop"], "time": "when", "label": "bought"} | changes)


def line(found, column):
    return next(line for line in found.lines if line.column == column)
