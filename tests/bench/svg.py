"""Looking into the pictures."""

from xml.etree import ElementTree

_SPACE = "{http://www.w3.org/2000/svg}"


def texts_of(picture: str) -> list[str]:
    """All text of an SVG file, which has to be one."""
    root = ElementTree.fromstring(picture)
    assert root.tag == f"{_SPACE}svg"
    return ["".join(found.itertext()) for found in root.iter(f"{_SPACE}text")]


def lines_of(picture: str) -> list[list[tuple[float, float]]]:
    """The points of all curves."""
    found = ElementTree.fromstring(picture).iter(f"{_SPACE}polyline")
    return [[(float(x), float(y)) for x, y in _pairs(line.get("points", ""))] for line in found]


def _pairs(points: str) -> list[tuple[str, str]]:
    return [(x, y) for x, _, y in (point.partition(",") for point in points.split())]
