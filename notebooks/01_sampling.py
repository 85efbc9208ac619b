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
# # Sampling: temperature, top-k, top-p, min-p
#
# A model does not give words. It gives a probability for every token that could come next, and something has to
# choose one. Four settings say how: `temperature` reshapes the probabilities, and `top_k`, `top_p` and `min_p`
# each cut off the unlikely ones, by a rule of its own.
#
# We look at one choice first, then at a whole reply, then at many replies: are they right, and do they differ?

# %%
import tempfile

from jc1 import Settings, SyncPipeline
from jc1_lab.plots import plotting
from jc1_lab.plots import style as look

MODEL = "jc1-tiny"  # or a folder, or a Hugging Face id such as "Qwen/Qwen3-0.6B"

# A home folder of its own, so that this notebook leaves your memories alone.
jc1 = SyncPipeline(Settings(home=tempfile.mkdtemp(), model=MODEL))
look.use()

# %% [markdown]
# ## 1. One choice, on paper
#
# Two made-up situations, twelve tokens each. In the first the model is **sure**, in the second it is **torn**
# between many. `filtered` is the reference of every engine: it takes the logits (log probabilities will do) and
# returns the probabilities from which the token is drawn.

# %%
import numpy as np

from jc1 import Decoding
from jc1.engines.sampling.reference import filtered

TOKENS = list("abcdefghijkl")
SURE = np.log([0.90, 0.04, 0.02, 0.01, 0.008, 0.006, 0.005, 0.004, 0.003, 0.002, 0.001, 0.001])
TORN = np.log([0.14, 0.13, 0.12, 0.11, 0.10, 0.09, 0.08, 0.07, 0.06, 0.05, 0.03, 0.02])

# %% [markdown]
# **Temperature** divides the logits. Below 1 the likely tokens gain, above 1 the unlikely ones do. It drops
# nothing.

# %%
import plotly.graph_objects as go
from plotly.subplots import make_subplots

TEMPERATURES = (0.5, 1.0, 2.0)
figure = make_subplots(
    2,
    3,
    shared_xaxes=True,
    shared_yaxes=True,
    vertical_spacing=0.1,
    horizontal_spacing=0.03,
    column_titles=[f"temperature {t:g}" for t in TEMPERATURES],
)
for row, logits in enumerate((SURE, TORN), start=1):
    for column, temperature in enumerate(TEMPERATURES, start=1):
        p = filtered(logits, Decoding(temperature=temperature))
        figure.add_bar(x=TOKENS, y=p, marker_color=look.BLUE, row=row, col=column)
figure.update_yaxes(tickformat=".0%", range=[0, 1], row=1, title="sure: probability", col=1)
figure.update_yaxes(tickformat=".0%", range=[0, 0.3], row=2, title="torn: probability", col=1)
figure.update_yaxes(range=[0, 1], row=1).update_yaxes(range=[0, 0.3], row=2)
figure.update_xaxes(title="token", row=2)
figure.update_annotations(font_size=13).update_layout(height=450, margin_t=70)
figure.update_layout(title="Temperature sharpens and flattens, and drops nothing")
figure.show()

# %%
from IPython.display import Markdown

best = {t: filtered(SURE, Decoding(temperature=t))[0] for t in TEMPERATURES}
Markdown(
    f"**What it shows.** Where the model is sure, temperature 2 takes the best token from {best[1.0]:.0%} to "
    f"{best[2.0]:.0%}: {1 - best[2.0]:.0%} of the draws now go to tokens that it held for nearly impossible. "
    f"Temperature 0.5 takes it to {best[0.5]:.1%}."
)

# %% [markdown]
# **The filters** drop tokens, and what is left is scaled up to 100 %:
#
# - `top_k=5` keeps the five most likely tokens, whatever their probabilities.
# - `top_p=0.9` keeps the smallest set that holds 90 % of the probability.
# - `min_p=0.1` keeps every token at least a tenth as likely as the best one.

# %%
FILTERS = {"top_k 5": {"top_k": 5}, "top_p 0.9": {"top_p": 0.9}, "min_p 0.1": {"min_p": 0.1}}
COLOURS = dict(zip(["no filter", *FILTERS], (look.QUIET, *look.PALETTE), strict=False))


def keeps(logits, temperature=1.0, **fields):
    """How many tokens are left to be drawn."""
    return int(np.count_nonzero(filtered(logits, Decoding(temperature=temperature, **fields))))


figure = make_subplots(
    2,
    3,
    shared_xaxes=True,
    vertical_spacing=0.1,
    horizontal_spacing=0.03,
    column_titles=list(FILTERS),
)
for row, logits in enumerate((SURE, TORN), start=1):
    for column, (name, fields) in enumerate(FILTERS.items(), start=1):
        left = filtered(logits, Decoding(temperature=1.0, **fields)) > 0
        colours = [COLOURS[name] if kept else look.FAINT for kept in left]
        figure.add_bar(x=TOKENS, y=np.exp(logits), marker_color=colours, row=row, col=column)
        figure.add_annotation(
            text=f"keeps {left.sum()}, drops {1 - np.exp(logits)[left].sum():.0%}",
            x=1,
            xref="x domain",
            xanchor="right",
            y=1,
            yref="y domain",
            showarrow=False,
            font_color=COLOURS[name],
            row=row,
            col=column,
        )
figure.update_yaxes(range=[0, 1], showticklabels=False, row=1).update_yaxes(range=[0, 0.2], showticklabels=False, row=2)
figure.update_yaxes(tickformat=".0%", showticklabels=True, title="sure: probability", row=1, col=1)
figure.update_yaxes(tickformat=".0%", showticklabels=True, title="torn: probability", row=2, col=1)
figure.update_xaxes(title="token", row=2)
figure.update_annotations(font_size=13).update_layout(height=450, margin_t=70)
figure.update_layout(title="Coloured tokens stay, grey ones are dropped, at temperature 1")
figure.show()

# %%
kept = {name: (keeps(SURE, **fields), keeps(TORN, **fields)) for name, fields in FILTERS.items()}
Markdown(
    "**What it shows.** A filter should keep few tokens where the model is sure and many where it is torn. "
    + "; ".join(f"`{name}` keeps {sure} and {torn}" for name, (sure, torn) in kept.items())
    + ". `top_k` cannot see the difference: it keeps bad tokens in the first case and throws good ones away in the "
    "second."
)

# %% [markdown]
# ## 2. Hot and filtered: the order matters
#
# JC1 applies the temperature first and the filters after it (`jc1/decoding.py` states the order once, for every
# engine). So a filter sees probabilities that the temperature has already flattened. Here is a vocabulary of
# 1,000 made-up tokens, the r-th of them 1/r² as likely as the first; how many survive?

# %%
VOCABULARY = -2 * np.log(np.arange(1, 1001))
HEAT = np.round(np.arange(0.2, 2.01, 0.1), 1)

figure = go.Figure()
for name, fields in FILTERS.items():
    counts = [keeps(VOCABULARY, t, **fields) for t in HEAT]
    figure.add_scatter(x=HEAT, y=counts, name=name, mode="lines", line_color=COLOURS[name])
    figure.add_annotation(
        text=f"{name}: {counts[-1]}",
        x=HEAT[-1],
        y=np.log10(counts[-1]),
        xanchor="left",
        xshift=8,
        showarrow=False,
        font_color=COLOURS[name],
    )
figure.update_yaxes(title="tokens that can be drawn", type="log", tickvals=[1, 3, 10, 30, 100, 300, 1000])
figure.update_xaxes(title="temperature", range=[0.2, 2.0])
figure.update_layout(title="Of 1,000 tokens, by temperature", margin_r=110)
figure.show()

# %%
Markdown(
    "**What it shows.** From temperature 1 to 2 "
    + ", ".join(
        f"`{name}` goes from {keeps(VOCABULARY, 1.0, **fields)} to {keeps(VOCABULARY, 2.0, **fields)} tokens"
        for name, fields in FILTERS.items()
    )
    + ". Heat moves probability into the long tail, and `top_p`, which counts probability, follows it there. "
    "`min_p` compares each token with the best one alone, and follows far less."
)

# %% [markdown]
# ## 3. A real reply
#
# Now the model. We tell it fourteen facts; the answers can only come from memory.

# %%
FACTS = [  # what is said, what is asked later, and the word that a right reply holds
    ("My cat is called Ada.", "What is my cat called?", "Ada"),
    ("I live in Lisbon.", "Where do I live?", "Lisbon"),
    ("My sister works at a bakery.", "Where does my sister work?", "bakery"),
    ("My favourite colour is teal.", "What is my favourite colour?", "teal"),
    ("My wifi password is zupra-42.", "What is my wifi password?", "zupra-42"),
    ("My brother is called Tom.", "Who is my brother?", "Tom"),
    ("My dog is called Bruno.", "What's the name of my dog?", "Bruno"),
    ("I am allergic to peanuts.", "What am I allergic to?", "peanuts"),
    ("My birthday is on 4 May.", "When is my birthday?", "4 May"),
    ("My boss is called Ingrid.", "Who is my boss?", "Ingrid"),
    ("My parents live in Ghent.", "In which town do my parents live?", "Ghent"),
    ("I play the cello.", "Which instrument do I play?", "cello"),
    ("My bike is green.", "What colour is my bike?", "green"),
    ("My uncle drives a tractor.", "What does my uncle drive?", "tractor"),
]
for said, _, _ in FACTS:
    jc1.chat(said, session="facts")

# %% [markdown]
# `logprobs=20` reports, for every token of the reply, the 20 likeliest tokens with their log probabilities: the
# model's own, before any filter. Twenty is the most that can be asked for; what they leave out is printed.
# `memory="read"` recalls without remembering, so that every question meets the same memory.

# %%
replies = [jc1.chat(question, memory="read", logprobs=20) for _, question, _ in FACTS]


def doubt(token):
    """Entropy of the reported alternatives, in bits: 0 is certain, 1 is a coin."""
    p = np.exp([other.logprob for other in token.top])
    return float(-(p * np.log2(p)).sum())


hardest = max(replies, key=lambda reply: max(map(doubt, reply.choices[0].logprobs)))
steps = hardest.choices[0].logprobs
torn = max(steps, key=doubt)
print(f"{hardest.text!r}: greedy")
print(f"most in doubt before {torn.text!r}: {doubt(torn):.2f} bits; the 20 hold", end=" ")
print(f"{sum(np.exp(o.logprob) for o in torn.top):.1%} of the probability")

# %% [markdown]
# How many of the 20 would each filter leave, token by token?


# %%
def visible(text):
    """A token as one can see it: its leading space matters, and is shown as ␣."""
    return text.replace(" ", "␣") or "·"


columns = [f"{i}. {visible(step.text)}" for i, step in enumerate(steps, start=1)]
counts = [[keeps([o.logprob for o in step.top], **fields) for step in steps] for fields in FILTERS.values()]
texts = [[str(n) for n in row] for row in counts]
figure = plotting.heatmap(np.log(counts), x=columns, y=list(FILTERS), texts=texts, low=0, high=np.log(20))
figure.update_xaxes(title="the reply, token by token (␣ is a space)")
figure.update_layout(height=220, title="Tokens that can be drawn, of the 20 likeliest, at temperature 1")
figure.show()

# %%
sure = [i for i, step in enumerate(steps) if doubt(step) < 0.1]
Markdown(
    f"**What it shows.** At {len(sure)} of {len(steps)} places the model is all but certain (under 0.1 bits). There "
    + ", ".join(f"`{name}` leaves {max(row[i] for i in sure)}" for name, row in zip(FILTERS, counts, strict=True))
    + " tokens at most. `top_k` invites wrong ones at every such place; a whole reply has many."
)

# %% [markdown]
# And the place that was most in doubt, at two temperatures. A filled dot stays, an empty one is dropped.

# %%
shown = torn.top[:12]
rows = [f"{i}.  {visible(other.text)}" for i, other in enumerate(shown, start=1)]
p = np.exp([other.logprob for other in shown])
logits = [other.logprob for other in torn.top]
figure = make_subplots(1, 2, shared_yaxes=True, column_widths=[0.5, 0.5], horizontal_spacing=0.03)
figure.add_bar(
    x=p,
    y=rows,
    orientation="h",
    marker_color=look.BLUE,
    text=[f"{share:.1%}" for share in p],
    textposition="outside",
    row=1,
    col=1,
)
for i, (name, fields) in enumerate(FILTERS.items()):
    for j, temperature in enumerate((1.0, 2.0)):
        stays = (filtered(logits, Decoding(temperature=temperature, **fields)) > 0)[: len(shown)]
        colours = [COLOURS[name] if stay else "rgba(0,0,0,0)" for stay in stays]
        outline = {"width": 1.5, "color": COLOURS[name]}
        figure.add_scatter(
            x=[3 * i + j] * len(shown),
            y=rows,
            mode="markers",
            marker={"size": 11, "color": colours, "line": outline},
            row=1,
            col=2,
        )
    figure.add_annotation(
        text=name, x=3 * i + 0.5, xref="x2", y=1, yref="paper", yshift=46, showarrow=False, font_color=COLOURS[name]
    )
figure.update_yaxes(autorange="reversed", showgrid=False, ticksuffix="  ")
figure.update_xaxes(title="probability at temperature 1", tickformat=".0%", range=[0, p[0] * 1.3], row=1, col=1)
figure.update_xaxes(
    showgrid=False,
    side="top",
    tickvals=[0, 1, 3, 4, 6, 7],
    ticktext=["T = 1", "T = 2"] * 3,
    range=[-1, 8],
    row=1,
    col=2,
)
figure.update_layout(height=470, margin_t=100, title=f"Before {torn.text!r}: what stays (filled) and what is dropped")
figure.show()

# %%
Markdown(
    f"**What it shows.** Before {torn.text!r}, of 20 tokens, "
    + "; ".join(
        f"`{name}` leaves {keeps(logits, 1.0, **fields)} at temperature 1 and {keeps(logits, 2.0, **fields)} at 2"
        for name, fields in FILTERS.items()
    )
    + "."
)

# %% [markdown]
# ## 4. Are the replies right?
#
# Every question, eight replies each, at four temperatures and with each filter. A reply counts when it holds the
# answer, however it is worded.

# %%
import pandas as pd

N = 8
WARMTH = (0.5, 1.0, 1.5, 2.0)
ROOM = 16  # tokens of a reply; a model of many words needs more


def score(reply, answer):
    """1 for a reply that holds the answer, else 0."""
    return float(answer in reply)


rows = []
for name, fields in {"no filter": {}, **FILTERS}.items():
    for temperature in WARMTH:
        for _, question, answer in FACTS:
            reply = jc1.chat(question, memory="read", n=N, seed=7, temperature=temperature, max_tokens=ROOM, **fields)
            texts = [choice.text for choice in reply.choices]
            rows.append((name, temperature, question, texts, np.mean([score(text, answer) for text in texts])))
asked = pd.DataFrame(rows, columns=["filter", "temperature", "question", "replies", "right"])
greedy = np.mean([score(reply.text, answer) for reply, (_, _, answer) in zip(replies, FACTS, strict=True)])
asked.groupby(["filter", "temperature"], sort=False)["right"].mean().unstack().round(2)

# %% [markdown]
# Fourteen questions are few. The bars are 95 % intervals: the questions are drawn again, with replacement,
# 2,000 times, as if we had asked other people. (They are drawn by question and not by reply: eight replies to
# one question are not eight independent questions.)

# %%
DRAWS = np.random.default_rng(0).integers(len(FACTS), size=(2000, len(FACTS)))


def interval(values):
    """The 95 % bootstrap interval of the mean over questions."""
    return np.percentile(np.asarray(values)[DRAWS].mean(axis=1), [2.5, 97.5])


def by_question(name, temperature, column="right"):
    chosen = asked[(asked["filter"] == name) & (asked["temperature"] == temperature)]
    return chosen.set_index("question")[column].to_numpy()


figure = go.Figure()
for i, name in enumerate(COLOURS):
    values = [by_question(name, t) for t in WARMTH]
    means, spans = np.array([v.mean() for v in values]), np.array([interval(v) for v in values])
    figure.add_scatter(
        x=np.array(WARMTH) + (i - 1.5) * 0.02,
        y=means,
        name=name,
        mode="lines+markers",
        line_color=COLOURS[name],
        error_y={"array": spans[:, 1] - means, "arrayminus": means - spans[:, 0], "thickness": 1, "width": 0},
    )
plotting.label_ends(figure, gap=0.07)
figure.add_hline(greedy, line={"color": look.QUIET, "dash": "dot", "width": 1.5})
figure.add_annotation(
    text=f"greedy {greedy:.0%}", x=1, xref="paper", xanchor="left", xshift=6, y=greedy, showarrow=False
)
figure.update_yaxes(title="replies that are right", tickformat=".0%", range=[0, 1.04])
figure.update_xaxes(title="temperature", tickvals=WARMTH, range=[0.4, 2.08])
figure.update_layout(margin_r=110, title="Right answers, by temperature and filter")
figure.show()

# %%
HOT = 1.5
plain = by_question("no filter", HOT)
lines = []
for name in FILTERS:
    gain = by_question(name, HOT) - plain
    low, high = interval(gain)
    verdict = "" if low > 0 or high < 0 else ", not distinguishable from none"
    lines.append(f"`{name}` {gain.mean():+.0%} ({low:+.0%} to {high:+.0%}{verdict})")
Markdown(
    f"**What it shows.** Greedy gets {greedy:.0%} right. Without a filter temperature {WARMTH[0]:g} gets "
    f"{by_question('no filter', WARMTH[0]).mean():.0%} and temperature {WARMTH[-1]:g} "
    f"{by_question('no filter', WARMTH[-1]).mean():.0%}. At temperature {HOT:g}, on the same questions, a filter "
    "changes the share by: " + "; ".join(lines) + "."
)

# %% [markdown]
# ## 5. Do the replies differ?
#
# Two common measures, each over the eight replies to one question, as `jc1 sweep` takes them too:
#
# - **distinct-2**: different pairs of neighbouring words, over all such pairs. 1 means that no pair comes twice.
# - **self-similarity**: how alike two of the replies are, on average: token F1, that is the words that both have
#   over the mean of their lengths. 1 means that all replies use the same words.

# %%
from jc1_lab.scoring.texts import distinct, self_similarity

asked["distinct_2"] = asked["replies"].map(lambda texts: distinct(texts, 2) or 0.0)
asked["self_similarity"] = asked["replies"].map(self_similarity)

figure = make_subplots(1, 2, subplot_titles=["distinct-2", "self-similarity"], horizontal_spacing=0.2)
for column, measure in enumerate(("distinct_2", "self_similarity"), start=1):
    for name in COLOURS:
        figure.add_scatter(
            x=WARMTH,
            y=[by_question(name, t, measure).mean() for t in WARMTH],
            name=name,
            mode="lines+markers",
            line_color=COLOURS[name],
            row=1,
            col=column,
        )
    plotting.label_ends(figure, gap=0.075, row=1, col=column)
figure.update_yaxes(range=[0, 1.04]).update_xaxes(title="temperature", tickvals=WARMTH)
figure.update_annotations(font_size=13).update_layout(height=390, margin={"r": 90, "t": 74})
figure.update_layout(title="How much eight replies to one question differ")
figure.show()

# %%
wordings, sound = 0, 0
for _, question, answer in FACTS:
    different = set(asked[(asked["question"] == question) & (asked["temperature"] == HOT)]["replies"].sum())
    wordings += len(different)
    sound += sum(score(text, answer) for text in different)
Markdown(
    f"**What it shows.** Without a filter distinct-2 rises from "
    f"{by_question('no filter', WARMTH[0], 'distinct_2').mean():.2f} to "
    f"{by_question('no filter', WARMTH[-1], 'distinct_2').mean():.2f}. But at temperature {HOT:g} the "
    f"{len(FACTS)} questions got {wordings} different replies, of which {sound:.0f} are right. Where a question "
    "has one answer, what varies beyond its wording is error. Diversity is worth having when many replies are good: "
    "stories, ideas, candidates to choose from."
)

# %% [markdown]
# ## 6. Quality against diversity
#
# Both at once. Each line is one filter from cool to hot. Up is better, right is more varied; of two settings with
# the same diversity the upper one is to be preferred.

# %%
table = asked.groupby(["filter", "temperature"], sort=False)[["right", "distinct_2", "self_similarity"]].mean()
figure = go.Figure()
for name in COLOURS:
    figure.add_scatter(
        x=table.loc[name]["distinct_2"],
        y=table.loc[name]["right"],
        name=name,
        mode="lines+markers",
        line_color=COLOURS[name],
    )
figure.add_scatter(
    x=[np.mean([distinct([reply.text] * N, 2) or 0.0 for reply in replies])],
    y=[greedy],
    mode="markers+text",
    marker={"color": look.QUIET, "size": 11, "symbol": "diamond"},
    text="greedy",
    textposition="top center",
)
hot = {name: table.loc[(name, WARMTH[-1])] for name in COLOURS}
for name, end in hot.items():
    figure.add_annotation(
        text=name,
        x=end["distinct_2"],
        y=end["right"],
        xanchor="right",
        xshift=-9,
        yshift=-9,
        showarrow=False,
        font_color=COLOURS[name],
    )
figure.update_yaxes(title="replies that are right", tickformat=".0%", range=[0, 1.04])
figure.update_xaxes(title="distinct-2 of eight replies", rangemode="tozero")
figure.update_layout(height=420, title="Each line from temperature 0.5 to 2, where its name stands", margin_r=90)
figure.show()

# %%
slope = np.polyfit(table["distinct_2"], table["right"], 1)
off = np.abs(table["right"] - np.polyval(slope, table["distinct_2"])).max()
near = (
    "So at the same diversity no filter is much better than another. What a filter changes is how far along the line a "
    "temperature takes you"
    if off < 0.15
    else "That is too far for one line: see which filter lies above the others at the same diversity. And each filter "
    "takes a temperature to another place"
)
Markdown(
    "**What it shows.** The straight line that fits all settings best misses each of them by "
    f"{off:.0%} of the replies at most. {near}: at temperature {WARMTH[-1]:g} "
    + ", ".join(f"`{name}` is at {end['right']:.0%} right" for name, end in hot.items())
    + "."
)

# %%
table.round(2)

# %%
jc1.close()

# %% [markdown]
# ## Which filter, when
#
# | you want | take | why |
# |---|---|---|
# | one right answer: facts, extraction | `temperature=0` | nothing is gained by drawing |
# | varied replies | a higher `temperature`, in small steps | variety is paid for in right replies, with any filter |
# | a temperature that forgives | `min_p` 0.05 to 0.1 | follows the model's doubt, and the heat but little |
# | what most recipes assume | `top_p` 0.9 to 0.95 at `temperature` 0.7 to 1 | adapts too; loosens in the heat |
# | a hard bound | `top_k`, with one of the others | blind to the shape: never alone |
#
# These are places to start. What is best for your prompts and your model is a matter of measuring: change `MODEL`
# and `FACTS` above, or let a sweep search (`jc1 sweep`), with more questions than fourteen.
