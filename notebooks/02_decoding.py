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
# # Decoding: greedy, beam search, sampling, best of n
#
# Greedy decoding takes the likeliest token, again and again. That need not give the likeliest *reply*: a good
# first step can lead into a bad street. Beam search follows several replies at once and keeps the likeliest;
# best-of-n draws several and lets a judge choose. Both cost more. Are they worth it?
#
# We ask one question in all these ways and look at the scores. Then we ask many, and count right answers, tokens
# and milliseconds.

# %%
import tempfile

from jc1 import Settings, SyncPipeline
from jc1_lab.plots import plotting
from jc1_lab.plots import style as look

MODEL = "jc1-tiny"  # or a folder, or a Hugging Face id such as "Qwen/Qwen3-0.6B"

# A home folder of its own, so that this notebook leaves your memories alone.
jc1 = SyncPipeline(Settings(home=tempfile.mkdtemp(), model=MODEL, max_n=16))
look.use()

FACTS = [  # what is said, what is asked later, and the words that a right reply holds
    ("My cat is called Ada.", "What is my cat called?", "Ada"),
    ("I live in Lisbon.", "Where do I live?", "Lisbon"),
    ("My sister works at a bakery.", "Where does my sister work?", "bakery"),
    ("My favourite colour is teal.", "What is my favourite colour?", "teal"),
    ("My wifi password is zupra-42.", "What is my wifi password?", "zupra-42"),
    ("My brother is called Tom.", "Who is my brother?", "Tom"),
    ("My dog is called Bruno.", "What's the name of my dog?", "Bruno"),
    ("I am allergic to peanuts.", "What am I allergic to?", "peanuts"),
    ("My boss is called Ingrid.", "Who is my boss?", "Ingrid"),
    ("My sister lives in Porto.", "Where does my sister live?", "Porto"),
    ("My parents live in Ghent.", "In which town do my parents live?", "Ghent"),
    ("I work as a nurse.", "What do I do for a living?", "nurse"),
    ("My daughter is called Noor.", "Remind me of my daughter's name.", "Noor"),
    ("My locker code is 5917.", "What is the code of my locker?", "5917"),
    ("The keys are in the blue jar.", "Where are the keys?", "blue jar"),
    ("My neighbour is called Otis.", "Who lives next door?", "Otis"),
    ("My uncle drives a tractor.", "What does my uncle drive?", "tractor"),
    ("My best friend is called Zelda.", "What is my best friend called?", "Zelda"),
    ("My favourite band is Northwind.", "Which band do I like most?", "Northwind"),
    ("My aunt's bike is green.", "What colour is my aunt's bike?", "green"),
]
for said, _, _ in FACTS:
    jc1.chat(said, session="facts")

# %% [markdown]
# ## 1. How likely is a reply?
#
# The probability of a reply is the product of its tokens' probabilities, so its logarithm is a sum. `logprobs=0`
# asks for the log probability of each token of the reply, its end token included. The mean over the tokens makes
# short and long replies comparable; it is also what beam search ranks by (`length_penalty=1`).

# %%
import numpy as np
import pandas as pd

LONGEST = 32  # tokens; every method gets the same room


def logprob(choice):
    """The log probability of a whole reply."""
    return sum(token.logprob for token in choice.logprobs)


def mean_logprob(choice):
    return logprob(choice) / len(choice.logprobs)


def ask(question, **decoding):
    return jc1.chat(question, memory="read", max_tokens=LONGEST, **decoding)


greedy = [ask(question, logprobs=0).choices[0] for _, question, _ in FACTS]
pd.DataFrame(
    {
        "question": [question for _, question, _ in FACTS],
        "greedy reply": [choice.text for choice in greedy],
        "right": [answer in choice.text for choice, (_, _, answer) in zip(greedy, FACTS, strict=True)],
        "probability": [round(float(np.exp(logprob(choice))), 3) for choice in greedy],
        "mean logprob": [round(mean_logprob(choice), 3) for choice in greedy],
    }
).sort_values("probability")

# %% [markdown]
# ## 2. The beams of one question
#
# `beam_width=4` follows four replies at once, and `n=4` gives them all back; `trace.scores` tells the score of
# each. We take the question of whose reply the model is least sure, among those whose beams end in time: the score
# times the number of tokens is the log probability, so we also see how likely each whole reply is.

# %%
import plotly.graph_objects as go

beams = {question: ask(question, beam_width=4, n=4) for _, question, _ in FACTS}
doubtful = sorted(zip(map(logprob, greedy), FACTS, strict=True))
ended = [fact for _, fact in doubtful if all(c.finish_reason == "stop" for c in beams[fact[1]].choices[:3])]
_, question, answer = (ended or [doubtful[0][1]])[0]
found = beams[question]
first = greedy[[q for _, q, _ in FACTS].index(question)]

texts, scores = [choice.text for choice in found.choices], found.trace.scores
shares = [np.exp(s * len(c.token_ids)) for s, c in zip(scores, found.choices, strict=True)]
right = [answer in text for text in texts]
shown = [f"{i}. {text if len(text) < 48 else text[:47] + '…'}" for i, text in enumerate(texts, start=1)]
figure = go.Figure(
    go.Bar(
        x=shares,
        y=shown,
        orientation="h",
        marker_color=[look.GREEN if ok else look.ORANGE for ok in right],
        text=[
            f"{share:.1%}, score {score:.3f}" + (" (greedy)" if text == first.text else "")
            for share, score, text in zip(shares, scores, texts, strict=True)
        ],
        textposition="outside",
    )
)
figure.update_yaxes(autorange="reversed", showgrid=False, ticksuffix="  ")
figure.update_xaxes(title="probability of the whole reply", tickformat=".0%", range=[0, max(shares) * 1.6])
figure.update_layout(
    height=250,
    title=f"{question} Four beams: <b style='color:{look.GREEN}'>right</b>, <b style='color:{look.ORANGE}'>wrong</b>",
)
figure.show()

# %%
from IPython.display import Markdown

changed = [
    (q, choice.text, beams[q].text, answer)
    for choice, (_, q, answer) in zip(greedy, FACTS, strict=True)
    if beams[q].text != choice.text
]
corrected = sum(answer in new and answer not in old for _, old, new, answer in changed)
spoiled = sum(answer in old and answer not in new for _, old, new, answer in changed)
Markdown(
    f"**What it shows.** Asked {question!r}, beam search puts {texts[0]!r} first (score {scores[0]:.3f}); greedy said "
    f"{first.text!r} ({mean_logprob(first):.3f}). Over all {len(FACTS)} questions the best beam differs from "
    f"the greedy reply {len(changed)} times: {corrected} wrong replies became right and {spoiled} right ones wrong."
)

# %% [markdown]
# ## 3. Does likelihood know what is right?
#
# Beam search finds likelier replies, and best-of-n by mean logprob picks the likeliest of those drawn. Both help
# as far as *likelier* means *better*. Each dot is one question: how likely was its greedy reply?

# %%
means = np.array([mean_logprob(choice) for choice in greedy])
good = np.array([answer in choice.text for choice, (_, _, answer) in zip(greedy, FACTS, strict=True)])
figure = go.Figure()
for name, mask, colour in (("right", good, look.GREEN), ("wrong", ~good, look.ORANGE)):
    figure.add_scatter(
        x=-means[mask],
        y=[f"{name} ({mask.sum()})"] * mask.sum(),
        mode="markers",
        marker={"color": colour, "size": 12, "opacity": 0.65},
        text=[choice.text for choice, chosen in zip(greedy, mask, strict=True) if chosen],
        hovertemplate="%{text} %{x:.4f}<extra></extra>",
    )
figure.update_xaxes(
    title="surprise per token: minus mean logprob, in nats (left: sure, right: unsure)",
    type="log",
    tickvals=[0.0001, 0.001, 0.01, 0.1, 1],
    ticktext=["0.0001", "0.001", "0.01", "0.1", "1"],
)
figure.update_yaxes(autorange="reversed", ticksuffix="  ", showgrid=False)
figure.update_layout(height=210, title="Greedy replies by how sure the model was")
figure.show()

# %%
if good.all() or not good.any():
    said = "All replies are of one kind: this model needs harder (or easier) questions."
else:
    pairs = (means[good][:, None] > means[~good][None, :]).mean()
    said = (
        f"Of all pairs of a right and a wrong reply, the right one is the likelier in {pairs:.0%} (50 % would be "
        "chance). Between questions the figure is a useful warning: low confidence deserves a second look. It does not "
        "follow that the likelier of two replies to *one* question is the right one: the next table counts that."
    )
Markdown(f"**What it shows.** {said}")

# %% [markdown]
# ## 4. Quality and cost, side by side
#
# - **greedy**: one reply, the likeliest token each time.
# - **beam 2, 4, 8**: the best-scored of that many beams.
# - **one sample**: temperature 1, no filter; the mean of sixteen single draws.
# - **best of 4, of 16**: that many samples, ranked by mean logprob.
# - **vote of 16**: the reply that comes most often. The crowd judges, not the likelihood.
# - **any of 16**, **any of 4 beams**: whether a right reply is among the candidates at all. No method of choosing
#   can do better with these candidates.
#
# The methods take turns, question by question, so that a busy moment of the machine falls on all alike.

# %%
from collections import Counter


def holds(choice, answer):
    return float(answer in choice.text)


rows, cost = [], []
for _, question, answer in FACTS:
    asked = {
        "greedy": ask(question),
        "beam 2": ask(question, beam_width=2),
        "beam 4": ask(question, beam_width=4),
        "beam 8": ask(question, beam_width=8),
        "one sample": ask(question, temperature=1.0, seed=5),
        "best of 4": ask(question, temperature=1.0, n=4, seed=5, logprobs=0),
        "best of 16": ask(question, temperature=1.0, n=16, seed=5, logprobs=0),
    }
    drawn = asked["best of 16"].choices
    row = {name: holds(asked[name].choices[0], answer) for name in ("greedy", "beam 2", "beam 4", "beam 8")}
    row["one sample"] = np.mean([holds(choice, answer) for choice in drawn])
    row["best of 4"] = holds(max(asked["best of 4"].choices, key=mean_logprob), answer)
    row["best of 16"] = holds(max(drawn, key=mean_logprob), answer)
    row["vote of 16"] = float(answer in Counter(choice.text for choice in drawn).most_common(1)[0][0])
    row["any of 16"] = max(holds(choice, answer) for choice in drawn)
    row["any of 4 beams"] = max(holds(choice, answer) for choice in beams[question].choices)
    rows.append(row)
    for name, reply in asked.items():
        tokens = sum(len(choice.token_ids) for choice in reply.choices)
        cost.append((name, tokens, 1000 * (reply.trace.stages["prefill"] + reply.trace.stages["decode"])))

right = pd.DataFrame(rows)
cost = pd.DataFrame(cost, columns=["method", "tokens", "ms"]).groupby("method", sort=False)
cost = pd.DataFrame({"tokens returned": cost["tokens"].mean().round(1), "ms, median": cost["ms"].median().round()})
cost.loc["vote of 16"] = cost.loc["best of 16"]
pd.DataFrame({"right": right.mean().round(3)}).join(cost)

# %% [markdown]
# For beams the tokens of the winner alone are returned; the tokens of the losers were computed too, and show in
# the milliseconds. The whiskers are 95 % intervals: the questions drawn again, with replacement, 2,000 times.

# %%
from plotly.subplots import make_subplots

DRAWS = np.random.default_rng(0).integers(len(FACTS), size=(2000, len(FACTS)))


def interval(values):
    """The 95 % bootstrap interval of the mean over questions."""
    return np.percentile(np.asarray(values)[DRAWS].mean(axis=1), [2.5, 97.5])


METHODS = [name for name in right if not name.startswith("any")]
KIND = {
    "greedy": look.QUIET,
    "beam": look.BLUE,
    "one": look.ORANGE,
    "best": look.GREEN,
    "vote": look.PINK,
}
colours = [KIND[name.split()[0]] for name in METHODS]
spans = np.array([interval(right[name]) for name in METHODS])
share, times = right[METHODS].mean(), cost["ms, median"][METHODS]
figure = make_subplots(
    1,
    2,
    shared_yaxes=True,
    horizontal_spacing=0.08,
    subplot_titles=["right replies", "time in the engine, ms (median)"],
)
figure.add_scatter(
    x=share,
    y=METHODS,
    mode="markers+text",
    marker={"color": colours, "size": 12},
    text=[f"{value:.0%}" for value in share],
    textposition="top center",
    error_x={
        "array": spans[:, 1] - share,
        "arrayminus": share - spans[:, 0],
        "thickness": 1.5,
        "width": 0,
        "color": look.QUIET,
    },
    row=1,
    col=1,
)
figure.add_bar(
    x=times,
    y=METHODS,
    orientation="h",
    marker_color=colours,
    text=[f"{value:.0f}" for value in times],
    textposition="outside",
    row=1,
    col=2,
)
figure.update_yaxes(autorange="reversed", showgrid=False, ticksuffix="  ")
figure.update_xaxes(tickformat=".0%", range=[0, 1.02], row=1, col=1)
figure.update_xaxes(range=[0, times.max() * 1.15], row=1, col=2)
figure.update_annotations(font_size=13).update_layout(height=430, margin_t=30)
figure.show()

# %%
lines = []
for name in METHODS[1:]:
    gain = right[name] - right["greedy"]
    low, high = interval(gain)
    verdict = "" if low > 0 or high < 0 else ", not distinguishable"
    lines.append(
        f"| {name} | {gain.mean():+.0%} ({low:+.0%} to {high:+.0%}{verdict}) | {times[name] / times['greedy']:.1f} × |"
    )
Markdown(
    "**What it shows.** Against greedy, on the same questions:\n\n"
    "| method | right replies | time |\n|---|---|---|\n"
    + "\n".join(lines)
    + f"\n\nA right reply is among sixteen samples for {right['any of 16'].mean():.0%} of the questions and among four "
    f"beams for {right['any of 4 beams'].mean():.0%}, while the likeliest of the sixteen is right for "
    f"{right['best of 16'].mean():.0%}. Where the last figure is the smallest, it is not candidates that are missing "
    "but a judge: likelihood is the same opinion that chose the greedy reply."
)

# %% [markdown]
# ## 5. Where beam search goes wrong: loops
#
# `length_penalty` says how beams of different lengths are compared: the sum of log probabilities is divided by the
# length to this power. At 0 it is the plain sum, and every further token costs. At 1 it is the mean of a token. Above 1
# length itself is rewarded: a model that repeats itself grows surer with every round, so each repeated token costs next
# to nothing, and the growing divisor pays for it. Given room, the search then finds loops where it is unsure of the
# honest reply. (A long enough loop can lift the mean too, so 1 is no guarantee.)

# %%
PENALTIES = (0.0, 1.0, 1.5, 2.0)
ROOM = 96
hard = [fact for _, fact in doubtful[:5]]
lengths, last = {}, {}
for _, question, _ in hard:
    for penalty in PENALTIES:
        reply = jc1.chat(question, memory="read", beam_width=4, length_penalty=penalty, max_tokens=ROOM)
        lengths[question, penalty] = len(reply.choices[0].token_ids)
        last[question, penalty] = reply.text

figure = plotting.heatmap(
    [[lengths[question, penalty] for penalty in PENALTIES] for _, question, _ in hard],
    x=[f"{penalty:g}" for penalty in PENALTIES],
    y=[question for _, question, _ in hard],
    texts=[[str(lengths[question, penalty]) for penalty in PENALTIES] for _, question, _ in hard],
    low=0,
    high=ROOM,
)
figure.update_xaxes(title="length_penalty")
figure.update_layout(height=300, title=f"Tokens of the best of four beams ({ROOM} allowed)")
figure.show()

# %%
worst = max(last, key=lambda key: lengths[key])
full = {penalty: sum(lengths[question, penalty] >= ROOM for _, question, _ in hard) for penalty in PENALTIES}
Markdown(
    "**What it shows.** Of the five questions that the model is least sure of, so many fill all the room: "
    + ", ".join(f"{count} at length_penalty {penalty:g}" for penalty, count in full.items())
    + f". The longest, to {worst[0]!r} at {worst[1]:g}, begins\n\n> {last[worst][:150]}…\n\nand the same question at "
    f"length_penalty 0 gives\n\n> {last[worst[0], 0.0]}"
)

# %%
jc1.close()

# %% [markdown]
# ## When to take which
#
# | | take it when | mind |
# |---|---|---|
# | greedy | one answer is right; the default of JC1 | the same mistake every time |
# | beams | the likeliest reply really is the best: short, closed answers | width times the work; nothing streams |
# | sampling | varied replies are wanted | needs a temperature and a filter (notebook 01) |
# | best of n | a judge knows more than the model: a test, a checker | by likelihood it finds the greedy reply again |
#
# Bound a beam search with `max_tokens`, and keep `length_penalty` at 1 or below: above, it looks for loops.
#
# `jc1-tiny` has learned one wording for each kind of answer, so greedy and beams agree nearly always and the gain
# is small by construction. A larger model spreads its belief over many wordings; ask it the same questions by
# changing `MODEL`, and believe the table rather than this paragraph.
