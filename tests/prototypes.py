"""What a prototype goes through with no change in the library: solve, unroll, fit, compare, a page, deploy, export."""

import torch

from unrolling import Stage, deploy, export, fit, solve
from unrolling.evaluation import compare_network
from unrolling.export import load as load_exported
from unrolling.report.page import write_page
from unrolling.tasks.base import evaluate


def score(run, task):
    """The task's metric of a method on its test samples."""
    return float(task.metric.value(evaluate(run, task, task.test)))


def train(network, task, steps=30, rate=0.03):
    """Trains and says the metric before and after."""
    before = score(network, task)
    history = fit(network, task, [Stage(steps, batch=8, rate=rate)], quiet=True, validations=2)
    after = score(network, task)
    assert history.best is not None
    return before, after


def compared(network, task, folder, words):
    """The comparison as a page that holds these words."""
    comparison = compare_network(network, task, title="A prototype", effort="quick", generic_steps=30, quiet=True)
    page = write_page(comparison, folder).read_text(encoding="utf-8")
    for word in ("A prototype", *words):
        assert word in page
    return comparison


def deployed(network, data, **options):
    """Deployed forms give what the network gives, with the state that comes with it."""
    network.eval()
    with torch.no_grad():
        wanted, state = network(data, return_state=True)
    for how in ("auto", "plain"):
        estimate, last = deploy(network, how)(data, return_state=True)
        torch.testing.assert_close(estimate, wanted, **options)
        for a, b in zip(torch.utils._pytree.tree_leaves(last), torch.utils._pytree.tree_leaves(state), strict=True):
            torch.testing.assert_close(a, b, **options)


def exported(network, path, data, form="torch", **options):
    """The file gives what the network gives."""
    export(network, path, data, format=form, **options)
    loaded = load_exported(path)
    with torch.no_grad():
        torch.testing.assert_close(torch.as_tensor(loaded(data)), network(data), rtol=1e-4, atol=1e-5)


__all__ = ["compared", "deployed", "exported", "score", "solve", "train"]
