# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Speculation: several tokens for one step
#
# A model writes one token at a time, and each costs a whole pass over its weights. Speculative decoding
# guesses the next few tokens cheaply (a **draft**), lets the model check all of them in one pass, and keeps
# those that it would have written itself. Wrong guesses are thrown away. So the reply stays what it was; only
# its price changes.
#
# Two ways to guess, both in JC1 on the transformers and the vLLM engine:
#
# - `ngram:4`: look where the last words stood earlier in prompt or reply, and propose the 4 tokens that
#   followed there. Costs nothing, needs a text that repeats itself.
# - `draft:jc1-tiny-draft:3`: let a smaller model with the same tokenizer write 3 tokens ahead. Costs passes
#   of that model, and works on any text that it knows how to continue.
#
# Does it pay? That depends on how much is accepted, and on how busy the engine is. We measure both.

# %%
import statistics
import tempfile

import pandas as pd
import plotly.graph_objects as go

from experiments.benchmarks.engines import FREE, memory_questions
from jc1 import Preset
from jc1.errors import InvalidSettings
from jc1.messages import Message
from jc1_lab.latency.measure import measure
from jc1_lab.latency.targets import open_target
from jc1_lab.plots.style import BLUE, GOLD, GREEN, QUIET, styled
from jc1_lab.records.items import Item
from jc1_lab.records.results import Load

MODEL = "jc1-tiny"  # or a folder, or a hub id such as "Qwen/Qwen3-1.7B"
DRAFT = "jc1-tiny-draft"  # a small model with the same tokenizer, such as "Qwen/Qwen3-0.6B"
ENGINE = "transformers"  # or "vllm"

NAMES = {"off": "off", "ngram:4": "ngram:4", f"draft:{DRAFT}:3": "draft:3"}
COLOURS = dict(zip(NAMES, (QUIET, GOLD, BLUE), strict=True))
targets = {}
for method, name in NAMES.items():
    try:
        targets[method] = await open_target(MODEL, home=tempfile.mkdtemp(), engine=ENGINE, speculation=method)
    except InvalidSettings as refused:  # a draft that does not fit MODEL is left out, the rest goes on
        if name != "draft:3":
            raise
        print(refused.message)
METHODS = list(targets)
preset = Preset("notebook", decoding={"max_tokens": 48}, retrieval={"k": 0})

# %% [markdown]
# ## Two kinds of prompts
#
# The answer to a **repeating** prompt stands in the prompt: the model has to copy a name or a date from the
# notes that it was given. So it is with summaries, quotations, code edits. To a **free** prompt it must find
# its own words.

# %%
PROMPTS = {
    "repeating": [Item(f"repeat-{i}", tuple(said)) for i, said in enumerate(memory_questions(8))],
    "free": [Item(f"free-{i}", (Message.user(text),)) for i, text in enumerate(FREE * 2)],
}
for kind, (first, *_) in PROMPTS.items():
    notes = first.messages[1].text[:300] + " ...\n" if len(first.messages) > 1 else ""
    print(f"{kind}:\n{notes}{first.messages[-1].text}\n")

# %% [markdown]
# ## 1. The reply does not change
#
# All prompts, greedy, with every method. The traces tell what became of the drafts.

# %%
pipelines = {method: target.workbench.pipeline for method, target in targets.items()}
replies = {
    (method, kind): [await pipelines[method].chat(item.messages, memory="off", preset=preset) for item in items]
    for method in METHODS
    for kind, items in PROMPTS.items()
}
for kind in PROMPTS:
    plain = [reply.text for reply in replies["off", kind]]
    for method in METHODS[1:]:
        same = sum(text == reply.text for text, reply in zip(plain, replies[method, kind], strict=True))
        print(f"{kind:10} {NAMES[method]:8} {same} of {len(plain)} replies are the same to the letter")

# %% [markdown]
# ## 2. How much is accepted
#
# The model keeps the longest run of guesses that it agrees with, so a token far ahead counts only if all
# before it were right: acceptance falls with the position. Greedy replies have no chance in them: these
# figures come out the same on every run.

# %%


def told(method: str, kind: str) -> list[dict]:
    """What the traces say of the drafts, of the replies in which there were any."""
    found = [reply.trace.speculation for reply in replies[method, kind]]
    return [figures for figures in found if figures and figures["fired"]]


def by_position(method: str, kind: str) -> list[float]:
    """The share of drafted tokens that were accepted, mean over replies, at each position of a draft."""
    shares = [figures["by_position"] for figures in told(method, kind)]
    return [statistics.mean(s[at] for s in shares if len(s) > at) for at in range(max(map(len, shares), default=0))]


figure = styled(go.Figure(), height=360)
for kind, dash in (("repeating", "solid"), ("free", "dot")):
    for method in METHODS[1:]:
        shares = by_position(method, kind)
        figure.add_scatter(
            x=list(range(1, len(shares) + 1)),
            y=[100 * share for share in shares],
            name=f"{NAMES[method]}, {kind}",
            line={"color": COLOURS[method], "dash": dash, "width": 2.5},
            marker={"size": 8},
            hovertemplate="%{y:.0f} % accepted<extra>%{fullData.name}</extra>",
        )
figure.update_layout(
    title_text="<b>Acceptance by position in the draft</b>", legend={"orientation": "v", "x": 1.02, "y": 1}
)
figure.update_xaxes(title_text="position in the draft", dtick=1, range=[0.8, 4.2])
figure.update_yaxes(title_text="drafted tokens accepted", ticksuffix=" %", range=[0, 104])
figure.show()

# %% [markdown]
# Two sums of this are in use, and they answer different questions:
#
# - **Mean accepted length**, which engines report: tokens of a pass *that had a draft to check*, the model's own
#   included. It tells how good the drafts are.
# - **Tokens a pass**: all tokens of all replies over all passes that wrote them, those without a draft too. It tells
#   what they bring: without speculation it is 1, and it is the most that could be gained if guessing and checking
#   were free.
#
# Where a method finds nothing to propose, as `ngram` does at many places, the two differ.

# %%


def passes(flags: list[bool]) -> int:
    """Passes of the model in a reply, of whose tokens `flags` tell which were accepted from a draft: each pass ends
    with a token of its own, save the last where the reply ended within a draft."""
    return flags.count(False) + flags[-1]


rows = []
for kind in PROMPTS:
    for method in METHODS[1:]:
        drafts = told(method, kind)
        flags = [
            (reply.trace.speculation or {}).get("flags") or [False] * reply.trace.usage.completion_tokens
            for reply in replies[method, kind]
        ]
        rows.append(
            {
                "prompts": kind,
                "method": NAMES[method],
                "replies with a draft": f"{len(drafts)} of {len(flags)}",
                "drafted": sum(figures["drafted"] for figures in drafts),
                "accepted": sum(figures["accepted"] for figures in drafts),
                "mean accepted length": statistics.mean(f["mean_accepted_length"] for f in drafts) if drafts else None,
                "tokens a pass": sum(map(len, flags)) / sum(map(passes, flags)),
            }
        )
pd.DataFrame(rows).round(2)

# %% [markdown]
# ## 3. What it gains
#
# Now the clock. The engines take turns in short blocks, in another order each round, with the same
# prompts, so that a slow moment of the machine does not decide. First with one request at a time, then with
# four.

# %%
ROUNDS = 5
LOADS = [Load(concurrency=1), Load(concurrency=4)]
members = {number: (targets[method], preset) for number, method in enumerate(METHODS)}
blocks: dict[str, list] = {kind: [] for kind in PROMPTS}
for kind, items in PROMPTS.items():
    await measure(members, items, LOADS, requests=4, blocks=ROUNDS, warm_up=1, on_block=blocks[kind].append)

# %% [markdown]
# A single figure would hide how far it can be trusted. So we take each round by itself: the tokens a second
# of a method over those of `off` *in the same round*. A dot is a round, the bar is their median; where the
# dots lie on both sides of 1, this was **noise**, and nothing was shown.

# %%
speeds = {
    (kind, str(load), method): [
        sum(sample.tokens for sample in block.samples) / block.seconds
        for block in blocks[kind]
        if block.load == load and block.member == number
    ]
    for kind in PROMPTS
    for load in LOADS
    for number, method in enumerate(METHODS)
}
gains = {
    key: [mine / off for mine, off in zip(speed, speeds[*key[:2], "off"], strict=True)]
    for key, speed in speeds.items()
    if key[2] != "off"
}
cases = [(kind, str(load)) for kind in PROMPTS for load in LOADS]
labels = [f"{kind}<br>{load}" for kind, load in cases]

figure = styled(go.Figure(), height=400)
for method, shift in zip(METHODS[1:], (-0.2, 0.2), strict=False):
    figure.add_bar(
        x=[at + shift for at in range(len(cases))],
        y=[statistics.median(gains[*case, method]) for case in cases],
        width=0.34,
        name=NAMES[method],
        marker={"color": COLOURS[method], "opacity": 0.3, "cornerradius": 3},
        text=[f"<b>{statistics.median(gains[*case, method]):.2f}</b>" for case in cases],
        textfont={"color": QUIET, "size": 13},
        textposition="inside",
        insidetextanchor="start",
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=[at + shift + 0.03 * (i - ROUNDS // 2) for at in range(len(cases)) for i in range(ROUNDS)],
        y=[gain for case in cases for gain in gains[*case, method]],
        mode="markers",
        marker={"color": COLOURS[method], "size": 6},
        showlegend=False,
        hovertemplate="%{y:.2f}<extra>one round</extra>",
    )
figure.add_hline(y=1, line={"color": GREEN, "width": 1.5, "dash": "dash"})
figure.update_layout(
    title={
        "text": "<b>Tokens a second, over those without speculation</b>",
        "subtitle_text": "above 1 speculation is faster; a dot is a round, a bar their median",
    },
    legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"},
)
figure.update_xaxes(tickvals=list(range(len(cases))), ticktext=labels, showgrid=False)
figure.update_yaxes(title_text="times as fast as off")
figure.show()

# %%
for (kind, load, method), ratios in gains.items():
    low, high = min(ratios), max(ratios)
    verdict = "pays" if low > 1 else "costs" if high < 1 else "noise: on both sides of 1"
    spread = f"median {statistics.median(ratios):.2f}, rounds {low:.2f} to {high:.2f}"
    print(f"{kind:10} {load:12} {NAMES[method]:8} {spread}: {verdict}")

# %% [markdown]
# ## When to use it
#
# - **It pays when the engine has time to spare.** One request leaves most of a processor's arithmetic idle
#   while weights are fetched; checking a few more tokens in the same pass costs little.
# - **Expect less of it, or a loss, when many requests run at once.** They fill that idle time themselves. The
#   transformers engine goes further: while it speculates it takes one request after another and gives up its
#   batches. What came of that is above, in the figure of 4 at a time. vLLM speculates in batches; set `ENGINE` to see
#   it there.
# - **`ngram` lives on repetition.** Copying from notes, documents or code suits it. In other texts it guesses
#   seldom or wrongly, as the table in section 2 shows; a wrong guess is still checked, no guess costs nothing.
# - **A draft model lives on likeness.** The bundled draft was trained on the same made-up dialogues as its
#   model, so it guesses far better than two models that just share a tokenizer would. Take the gain as an
#   example, not a promise.
# - The rounds above are few and short. `verdict` asks that *all* of them agree, which five rounds without any
#   real difference do by chance in one of sixteen cases. For a decision put `engine.speculation` into a space
#   and let `jc1 sweep` measure it.

# %%
for target in targets.values():
    await target.close()
