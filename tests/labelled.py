"""Whether a figure says what its axes show."""

from matplotlib.figure import Figure


def unlabelled(figure: Figure) -> list[str]:
    """The axes that show numbers or names without saying of what; panels that share an axis say it once."""
    found = []
    for k, axes in enumerate(figure.axes):
        sides = {"abscissa": (axes.xaxis, "labelbottom"), "ordinate": (axes.yaxis, "labelleft")}
        bare = [name for name, (axis, shown) in sides.items() if axis.get_tick_params()[shown] and not axis.label.get_text()]
        bare += ["second axis" for other in axes.child_axes if not other.get_xlabel() + other.get_ylabel()]
        found += [f"{name} of panel {k}" for name in bare]
    return found
