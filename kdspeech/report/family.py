"""The outcome of `kds distill iterate`: its tables and figures, from family.json's content."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kdspeech.io.atomic import atomic_path
from kdspeech.report.drawing import CARD, INK, MUTED, SERIES, styled
from kdspeech.report.table import Cell, Table, to_markdown, to_rich

AXIS_NAMES = {"parameters": "parameters", "macs": "multiply-adds", "latency_ms": "latency, ms"}


def save_family(family: dict, exp: str | Path) -> None:
    """Writes family.md, family.svg (who taught whom) and pareto.svg into the experiment."""
    exp = Path(exp)
    with atomic_path(exp / "family.md") as part:
        part.write_text(family_markdown(family), encoding="utf-8")
    for name, figure in (("family", family_tree(family)), ("pareto", pareto_figure(family))):
        with atomic_path(exp / f"{name}.svg") as part:
            figure.savefig(part, metadata={"Date": None})


def print_family(family: dict) -> None:
    """Prints the tables on the terminal."""
    from rich.console import Console

    console = Console()
    wide = Console(width=None if console.is_terminal else 160)
    for table in family_tables(family):
        wide.print(to_rich(table))


def family_markdown(family: dict) -> str:
    """All tables, after the command and the outcome."""
    head = f"# Iterative distillation\n\n```\n{family['command']}\n```\n\n{family['outcome']}.\n"
    return "\n".join([head, *map(to_markdown, family_tables(family))])


def family_tables(family: dict) -> list[Table]:
    tables = [family_table(family), pareto_table(family)]
    return [*tables, baseline_table(family)] if family["baselines"] else tables


def family_table(family: dict) -> Table:
    """One row for each network: its teachers, costs and accuracies."""
    unit = family.get("unit", "ms")
    header = ["network", "taught by", unit, "parameters", "multiply-adds", "latency ms", "KB"]
    rows = []
    for node in family["nodes"]:
        drop = node["drop"]
        rows.append(
            [
                Cell(node["name"], best=node["name"] == family["best"]),
                Cell(_teachers(node)),
                *_costs(node),
                Cell(f"{node['size_kb']:,.1f}"),
                Cell(f"{node['dev']:.2f}"),
                _signed(0 - drop["value"], 0 - drop["high"], 0 - drop["low"]),
                Cell(f"{node['test']:.2f}"),
                Cell(node["status"]),
            ]
        )
    header += ["dev %", "to the root", "test %", "status"]
    return Table("The family", header, rows, labels=2, note=_note(family))


def pareto_table(family: dict) -> Table:
    """The networks on any of the fronts, and on which."""
    fronts = family["pareto"]
    rows = []
    for node in sorted(family["nodes"], key=lambda node: node["parameters"]):
        on = [Cell("x" if node["name"] in fronts[axis] else "") for axis in AXIS_NAMES]
        if any(cell.text for cell in on):
            cells = [Cell(node["name"]), *_costs(node), Cell(f"{node['dev']:.2f}")]
            rows.append([*cells, Cell(f"{node['test']:.2f}"), *on])
    header = ["network", family.get("unit", "ms"), "parameters", "multiply-adds", "latency ms"]
    header += ["dev %", "test %"]
    header += [f"front by {name.split(',')[0]}" for name in AXIS_NAMES.values()]
    note = "On a front is a network than which none is as cheap and better on dev."
    return Table("Pareto fronts", header, rows, note=note)


def baseline_table(family: dict) -> Table:
    """The same architecture from scratch, in one step and by the chain."""
    best = next(node for node in family["nodes"] if node["name"] == family["best"])
    chain = [Cell("iterated chain"), Cell(best["name"]), Cell(f"{best['dev']:.2f}")]
    rows = [[*chain, Cell(f"{best['test']:.2f}"), _each_seed(best), Cell(""), Cell("")]]
    for row in family["baselines"]:
        gap = row["chain_minus_it"]
        difference = _signed(gap["value"], gap["low"], gap["high"])
        cells = [Cell(row["what"]), Cell(row["name"]), Cell(f"{row['dev']:.2f}")]
        cells += [Cell(f"{row['test']:.2f}"), _each_seed(row)]
        rows.append([*cells, difference, Cell(f"{gap['above']:.3f}")])
    header = ["how", "network", "dev %", "test %", "each seed"]
    header += ["chain minus it", "P(chain better)"]
    seeds = ", ".join(map(str, family["seeds"]))
    note = f"Test, seeds {seeds}; interval and P over clips, for these seeds."
    return Table("The same architecture", header, rows, labels=2, note=note)


def _each_seed(row: dict) -> Cell:
    return Cell(", ".join(f"{value:.2f}" for value in row["per_seed"]))


def _costs(node: dict) -> list[Cell]:
    numbers = (f"{node['parameters']:,}", f"{node['macs']:,}", f"{node['latency_ms']:.2f}")
    return [Cell(str(node["length_ms"])), *map(Cell, numbers)]


def _signed(value: float, low: float, high: float) -> Cell:
    return Cell(f"{value:+.2f}", detail=f"({low:+.2f}, {high:+.2f})")


def _teachers(node: dict) -> str:
    if not node["teachers"]:
        return "clips' labels"
    if len(node["teachers"]) == 1:
        return node["teachers"][0]
    pairs = zip(node["teachers"], node["weights"], strict=True)
    return ", ".join(f"{weight:.2f} {name}" for name, weight in pairs)


def _note(family: dict) -> str:
    note = "dev against the root with its 95 % interval over clips. "
    if family["max_drop"] is not None:
        note += (
            f"broken: more than {family['max_drop']:g} points below the root with "
            f"{100 * family['confidence']:g} % confidence. "
        )
    return note + (f"The search ended: {family['ended']}." if family["ended"] else "")


@styled
def pareto_figure(family: dict) -> Figure:
    """Dev accuracy against each cost: all networks, and the front as a line."""
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    axes = figure.subplots(1, len(AXIS_NAMES), sharey=True)
    for ax, (axis, label) in zip(axes, AXIS_NAMES.items(), strict=True):
        _draw_front(ax, family, axis)
        ax.set_xlabel(label)
        costs = [node[axis] for node in family["nodes"]]
        if max(costs) > 10 * min(costs):
            ax.set_xscale("log")
        else:
            ax.xaxis.set_major_locator(MaxNLocator(4))
    axes[0].set_ylabel("dev accuracy, %")
    return figure


def _draw_front(ax: Axes, family: dict, axis: str) -> None:
    nodes = {node["name"]: node for node in family["nodes"]}
    for node in nodes.values():
        kind = {"marker": "o", "color": MUTED} if node["status"] != "broken" else _BROKEN
        ax.plot(node[axis], node["dev"], linestyle="", **kind)
    front = [nodes[name] for name in family["pareto"][axis]]
    xs, ys = [node[axis] for node in front], [node["dev"] for node in front]
    ax.plot(xs, ys, color=SERIES[0], marker="o", drawstyle="steps-post")
    if family["best"]:
        best = nodes[family["best"]]
        ax.plot(best[axis], best["dev"], "D", color=SERIES[1], markersize=8, fillstyle="none")


_BROKEN = {"marker": "x", "color": MUTED}


@styled
def family_tree(family: dict) -> Figure:
    """Who taught whom: generations from top to bottom, a line from each teacher."""
    places = _places(family["nodes"])
    rows = 1 + max(y for _, y in places.values())
    columns = 1 + max(x for x, _ in places.values())
    figure = Figure(figsize=(max(4.2, 1.9 * columns), 0.5 + 1.0 * rows), layout="constrained")
    ax = figure.subplots()
    for node in family["nodes"]:
        x, y = places[node["name"]]
        for teacher, weight in zip(node["teachers"], node["weights"], strict=True):
            _draw_line(ax, places[teacher], (x, y), weight)
        _draw_node(ax, node, x, y, node["name"] == family["best"])
    ax.set(xlim=(-0.6, columns - 0.4), ylim=(rows - 0.5, -0.5))
    ax.set_axis_off()
    return figure


def _draw_line(ax: Axes, teacher: tuple, student: tuple, weight: float) -> None:
    """As thick as the teacher's weight; around the generations between."""
    bend = 0.25 if student[1] - teacher[1] > 1 else 0.0
    style = {"arrowstyle": "-", "color": MUTED, "connectionstyle": f"arc3,rad={bend}"}
    style["linewidth"] = 0.6 + 1.4 * weight
    ax.annotate("", student, teacher, arrowprops=style, zorder=1)


def _draw_node(ax: Axes, node: dict, x: float, y: float, best: bool) -> None:
    text = (
        f"{node['name'].rpartition('.')[2]}\n{node['parameters']:,} parameters\n{node['dev']:.2f} %"
    )
    colour = SERIES[1] if best else MUTED if node["status"] == "broken" else INK
    line = "--" if node["status"] == "broken" else "-"
    box = {"boxstyle": "round", "facecolor": CARD, "edgecolor": colour, "linestyle": line}
    ax.text(x, y, text, ha="center", va="center", fontsize=7.5, color=colour, bbox=box, zorder=2)


def _places(nodes: list[dict]) -> dict[str, tuple[int, int]]:
    """(column, generation) of each network, in the order they were born."""
    places, widths = {}, {}
    for node in nodes:
        generation = node["generation"]
        places[node["name"]] = (widths.get(generation, 0), generation)
        widths[generation] = widths.get(generation, 0) + 1
    return places
