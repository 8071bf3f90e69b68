"""Pictures of page tables; needs matplotlib."""

import math

import numpy as np

_COLUMNS = 16


def _pages_of(manager, sequence, group):
    return [int(page) for page in manager.views([sequence], group=group).page_table[0]]


def plot_page_table(manager, sequences, *, group=0, ax=None):
    """Draw the pages of a pool, coloured by the first sequence that holds each.

    A number is the logical page of the sequence; pages that several sequences
    share have a thick border. Returns the axes.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch, Rectangle

    num_pages = manager.stats()["groups"][group]["total_pages"]
    rows = math.ceil(num_pages / _COLUMNS)
    if ax is None:
        _, ax = plt.subplots(figsize=(9, 0.5 * rows + 1), layout="constrained")
    owners = {}
    for index, sequence in enumerate(sequences):
        for logical, page in enumerate(_pages_of(manager, sequence, group)):
            if page >= 0:
                owners.setdefault(page, []).append((index, logical))
    colors = plt.get_cmap("tab10")
    for page in range(num_pages):
        x, y = page % _COLUMNS, page // _COLUMNS
        holders = owners.get(page, [])
        color = colors(holders[0][0] % 10) if holders else ("0.75" if page == 0 else "0.95")
        width = 2.5 if len(holders) > 1 else 0.5
        ax.add_patch(
            Rectangle((x + 0.05, y + 0.05), 0.9, 0.9, facecolor=color, edgecolor="0.2", lw=width)
        )
        if holders:
            ax.text(x + 0.5, y + 0.5, str(holders[0][1]), ha="center", va="center", fontsize=8)
    ax.set(xlim=(0, _COLUMNS), ylim=(rows, 0), aspect="equal")
    ax.set_xticks(np.arange(0, _COLUMNS, 4) + 0.5, range(0, _COLUMNS, 4))
    ax.set_yticks(np.arange(rows) + 0.5, [row * _COLUMNS for row in range(rows)])
    ax.set_title("physical pages, with the logical page that each holds")
    handles = [
        Patch(facecolor=colors(i % 10), label=f"sequence {i}") for i in range(len(sequences))
    ]
    handles.append(Patch(facecolor="0.75", label="null page"))
    ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)
    return ax
