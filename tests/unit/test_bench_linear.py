"""The table and the plot of what an event costs."""

from bench.linear import Point, plot, table

POINTS = [Point(10_000, 100, 90_000, 95_000), Point(1_000_000, 100, 91_000, 96_500)]


def test_the_table_has_a_row_for_each_point():
    assert table(POINTS).splitlines()[2:] == [
        "| 10,000 | 100 | 90,000 | 95,000 |",
        "| 1,000,000 | 100 | 91,000 | 96,500 |",
    ]


def test_the_same_points_give_the_same_picture(tmp_path):
    for name in ("a.svg", "b.svg"):
        plot(POINTS, POINTS, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert b"<svg" in (tmp_path / "a.svg").read_bytes()
