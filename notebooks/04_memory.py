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
# # Memory: what is recalled, why, and what is missed
#
# Before a question reaches the model, memory searches what was said earlier and puts the best of it into the
# prompt. What is not recalled cannot be answered, and what is recalled in vain costs tokens. We take a made-up
# history, look at one search closely, change its settings, and then look for questions at which it fails.

# %%
import tempfile

from jc1 import Settings, SyncPipeline
from jc1_lab.plots import plotting
from jc1_lab.plots import style as look

MODEL = "jc1-tiny"  # or a folder, or a Hugging Face id such as "Qwen/Qwen3-0.6B"

# A home folder of its own, so that this notebook leaves your memories alone.
jc1 = SyncPipeline(Settings(home=tempfile.mkdtemp(), model=MODEL))
memory = jc1.workbench.memory
look.use()

# %% [markdown]
# ## 1. A history
#
# One person's remarks of some months: about life in ten conversations, and about each of twelve friends in another.
# The friends are there to be mistaken for: they too have cats, cars and allergies. Each remark becomes a record that
# knows its conversation, its turn and its day. (In a chat that happens by itself; `memory.add` is how a history is
# brought in.)

# %%
from datetime import UTC, datetime, timedelta

from jc1.memory.base import NewRecord, Retrieval

OWNER = "local"
HISTORY = {
    "flat": """We found a new flat in Lisbon. It has two rooms and a balcony. The rent is 950 euros.
        We move in on 1 April.""",
    "cat": "My cat is called Ada. She is afraid of thunder. The vet is Dr Okafor. She only eats tuna.",
    "work": """I work as a nurse at Saint Mary's. My boss is called Ingrid. My shifts begin at six in the morning.
        I take tram 28 to get there.""",
    "family": """My sister is called Noor. She lives in Porto. Noor works at a bakery. My brother Tom plays the drums.
        Our parents live in Ghent.""",
    "health": """I am allergic to peanuts. My dentist is Ms Lindqvist. My blood type is A positive.
        I hurt my knee while running.""",
    "trip": """We are planning a trip to Japan. We leave on 3 October. The tickets cost 1400 euros.
        Kyoto is what I want to see most.""",
    "music": """I have begun to learn the cello. My teacher is Mr Petrov. The lesson is on Thursdays at five.
        I practise in the cellar because of the neighbours.""",
    "car": """My car is a green Fiat. I park it in Rua das Flores. The inspection is due in June.
        The spare key is in the blue jar.""",
    "changes": """My boss is now called Helen. I sold the Fiat and bought a red Volvo.
        The cello lesson has moved to Mondays.""",
    "garden": """I planted beans and tomatoes on the balcony. The tomatoes need water every evening.
        Slugs ate the basil.""",
}

FRIENDS = {
    "lives in {}": "Oslo Turin Leeds Bonn Gdansk Malmo Braga Nice Cork Graz Delft Split",
    "has a cat called {}": "Pepper Mochi Luna Zelda Tofu Biscuit Rex Charlie Dora Nemo Otto Pixel",
    "works as a {}": "teacher plumber lawyer baker dentist nurse pilot cook vet doctor tailor florist",
    "drives a {}": "Skoda Volvo Fiat Peugeot Toyota Saab Opel Mazda Seat Kia Renault Lancia",
    "is allergic to {}": "pollen dust wasps nickel gluten milk eggs soy latex cats shrimps kiwis",
    "plays the {}": "cello flute drums harp violin guitar piano organ oboe banjo trumpet lute",
}
NAMES = "Marta Otmar Yusuf Chloe Pedro Anja Samir Lucia Henk Priya Jonas Olga"
for i, name in enumerate(NAMES.split()):
    facts = (f"{name} {told.format(values.split()[i])}." for told, values in FRIENDS.items())
    HISTORY[name] = " ".join(facts)

said = {}  # (conversation, turn) -> record
for week, (session, text) in enumerate(HISTORY.items()):
    day = datetime(2026, 3, 2, 18, tzinfo=UTC) + timedelta(weeks=week)
    remarks = " ".join(text.split()).rstrip(".").split(". ")
    new = [
        NewRecord(f"{remark}.", session=session, turn=turn, created=day + timedelta(minutes=turn))
        for turn, remark in enumerate(remarks, start=1)
    ]
    said |= {(record.session, record.turn): record for record in memory.add(OWNER, new)}
print(f"{len(said)} records in {len(HISTORY)} conversations")

# %% [markdown]
# ## 2. A receipt: why this record
#
# Every recalled record comes with a receipt. Its `score` is the sum of seven signals: how near the meaning of
# record and question is (*dense*), how many rare words they share (*bm25*), the same two of what was said around it
# (*window*) and in the whole conversation (*session*), whether its *date* or its *speaker* is named. A signal counts
# how far the record stands above the average record (a z-score, times a weight), so a bar can also point to the left.

# %%
import plotly.graph_objects as go

QUESTION = "In which town does my sister live?"
receipts = memory.search(OWNER, QUESTION, Retrieval(k=6)).receipts
SIGNALS = {
    "dense": look.BLUE,
    "dense_window": look.SKY,
    "bm25": look.ORANGE,
    "bm25_window": look.GOLD,
    "bm25_session": look.PINK,
    "date": look.GREEN,
    "speaker": look.QUIET,
}
rows = [f"{receipt.rank}.  {receipt.record.text}" for receipt in receipts]
figure = go.Figure()
for signal, colour in SIGNALS.items():
    parts = [receipt.parts[signal] for receipt in receipts]
    if any(parts):
        figure.add_bar(x=parts, y=rows, name=signal, orientation="h", marker_color=colour)
for row, receipt in zip(rows, receipts, strict=True):
    positive = sum(part for part in receipt.parts.values() if part > 0)
    figure.add_annotation(
        text=f"<b>{receipt.score:.1f}</b>", x=positive, y=row, xanchor="left", xshift=6, showarrow=False
    )
figure.update_yaxes(autorange="reversed", showgrid=False, ticksuffix="  ")
figure.update_xaxes(title="what each signal adds to the score (standard deviations, weighed)", zeroline=True)
figure.update_xaxes(zerolinecolor=look.QUIET, zerolinewidth=1)
figure.update_layout(barmode="relative", height=380, showlegend=True, margin_t=96)
figure.update_layout(title={"text": f"“{QUESTION}”", "y": 0.97, "yanchor": "top"})
figure.show()

# %%
import pandas as pd
from IPython.display import Markdown

answer = next(r for r in receipts if r.record.id == said["family", 2].id)
around = sum(answer.parts[name] for name in ("dense_window", "bm25_window", "bm25_session"))
Markdown(
    f"**What it shows.** The answer, {answer.record.text!r}, does not say who *she* is. It stands at rank "
    f"{answer.rank} all the same, with a score of {answer.score:.1f}: its own meaning and words bring "
    f"{answer.parts['dense'] + answer.parts['bm25']:.1f}, what was said around it {around:.1f}. Rank 1 is "
    f"{receipts[0].record.text!r} with {receipts[0].score:.1f}; rank {receipts[-1].rank} has "
    f"{receipts[-1].score:.1f}."
)

# %% [markdown]
# The raw figures behind the bars are in the receipt too: the cosine of the vectors, the BM25 score of the words,
# and the record's rank by each alone.

# %%
pd.DataFrame(
    {
        "record": [r.record.text for r in receipts],
        "score": [round(r.score, 2) for r in receipts],
        "cosine": [round(r.dense_score, 3) for r in receipts],
        "rank by cosine": [r.dense_rank for r in receipts],
        "BM25": ["" if r.lexical_score is None else f"{r.lexical_score:.2f}" for r in receipts],
        "rank by BM25": ["" if r.lexical_rank is None else r.lexical_rank for r in receipts],
    }
)

# %% [markdown]
# ## 3. Facts change
#
# A newer statement on the same subject supersedes the older one, which is then kept and never recalled. What a
# statement is about is read from its wording. Our history holds three changes; which were recognised?

# %%
CHANGES = [
    (("work", 2), ("changes", 1), "Who is my boss?"),
    (("car", 1), ("changes", 2), "What car do I drive?"),
    (("music", 3), ("changes", 3), "On which day is my cello lesson?"),
]
rows = []
for old, new, question in CHANGES:
    older, newer = memory.get(OWNER, said[old].id), said[new]
    ranks = {r.record.id: r.rank for r in memory.search(OWNER, question, Retrieval(k=50)).receipts}
    rows.append(
        {
            "older": older.text,
            "newer": newer.text,
            "superseded": older.superseded_by == newer.id,
            "asked": question,
            "rank of older": ranks.get(older.id, "not recalled"),
            "rank of newer": ranks[newer.id],
        }
    )
pd.DataFrame(rows)

# %%
known = sum(row["superseded"] for row in rows)
Markdown(
    f"**What it shows.** {known} of {len(rows)} changes were recognised. *Is now called* says what it replaces; *sold* "
    "and *has moved* say it between the lines. Where it is not certain nothing is superseded: both statements are "
    "recalled, each under its day, and it is left to the model to believe the newer. A small model may not."
)

# %% [markdown]
# ## 4. How many, how wide
#
# `k` is the number of records that are recalled; `window` adds the turns before and after each of them. Twenty-one
# questions, each with the records that hold its answer (`evidence`). *Recall* is the part of the evidence that was
# found. Tokens are what the prompt costs, memories included.

# %%
import numpy as np

from jc1.messages import Message
from jc1.prompt import DEFAULT_SYSTEM, with_memories

QUESTIONS = [  # question, kind, evidence, what a right reply holds
    ("What is my cat called?", "direct", [("cat", 1)], "Ada"),
    ("Which tram do I take to work?", "direct", [("work", 4)], "28"),
    ("What am I allergic to?", "direct", [("health", 1)], "peanuts"),
    ("Where is the spare key?", "direct", [("car", 4)], "blue jar"),
    ("Where do our parents live?", "direct", [("family", 5)], "Ghent"),
    ("What does the flat cost a month?", "paraphrase", [("flat", 3)], "950"),
    ("Who looks after my teeth?", "paraphrase", [("health", 2)], "Lindqvist"),
    ("What must nobody put in my food?", "paraphrase", [("health", 1)], "peanuts"),
    ("What is my profession?", "paraphrase", [("work", 1)], "nurse"),
    ("How do I get to the hospital?", "paraphrase", [("work", 4)], "28"),
    ("What scares my cat?", "follow-up", [("cat", 2)], "thunder"),
    ("In which town does my sister live?", "follow-up", [("family", 2)], "Porto"),
    ("When do we leave for Japan?", "follow-up", [("trip", 2)], "3 October"),
    ("Who is my cello teacher?", "follow-up", [("music", 2)], "Petrov"),
    ("Who is my boss?", "changed", [("changes", 1)], "Helen"),
    ("On which day is my cello lesson?", "changed", [("changes", 3)], "Monday"),
    ("What car do I drive?", "changed", [("changes", 2)], "Volvo"),
    ("In which town does Tom's sister live?", "several hops", [("family", 1), ("family", 2)], "Porto"),
    ("Which doctor treats Ada?", "several hops", [("cat", 1), ("cat", 3)], "Okafor"),
    ("Is it safe to leave Ada alone in a storm?", "several hops", [("cat", 1), ("cat", 2)], "thunder"),
    ("Which of the plants on the balcony are still alive?", "several hops", [("garden", 1), ("garden", 3)], "beans"),
]


def recall(question, evidence, **retrieval):
    """The part of the evidence that is recalled, and the tokens of the prompt."""
    records = [r.record for r in memory.search(OWNER, question, Retrieval(**retrieval)).receipts]
    found = {(record.session, record.turn) for record in records}
    prompt = (Message.system(DEFAULT_SYSTEM), with_memories(Message.user(question), records))
    return len(found & set(evidence)) / len(evidence), jc1.workbench.engine.count(prompt)


KS, WINDOWS = (1, 2, 4, 8, 16), (0, 1, 2)
grid = np.array(
    [[[recall(q, e, k=k, window=w) for q, _, e, _ in QUESTIONS] for k in KS] for w in WINDOWS]
)  # (windows, ks, questions, 2)
shares, tokens = grid[..., 0].mean(axis=2), grid[..., 1].mean(axis=2)

figure = plotting.heatmap(
    shares,
    x=[f"k = {k}" for k in KS],
    y=[f"window {w}" for w in WINDOWS],
    texts=[
        [f"<b>{s:.0%}</b><br>{t:.0f} tokens" for s, t in zip(*row, strict=True)]
        for row in zip(shares, tokens, strict=True)
    ],
    low=0.4,
    high=1,
)
figure.update_layout(height=270, title="Evidence recalled, and what the prompt costs")
figure.show()

# %%
best = min((tokens[i, j], -shares[i, j], WINDOWS[i], KS[j]) for i, j in np.argwhere(shares >= shares.max() - 1e-9))
wide, deep = (shares[1, 1], tokens[1, 1]), (shares[0, 2], tokens[0, 2])
Markdown(
    f"**What it shows.** `k` = 1 finds {shares[0, 0]:.0%} of the evidence, `k` = 8 (the default) {shares[0, 3]:.0%} "
    f"for {tokens[0, 3]:.0f} tokens. The most that any setting finds is {-best[1]:.0%}; the cheapest that does is "
    f"`k` = {best[3]} with window {best[2]}, {best[0]:.0f} tokens. To double `k` from 2 to 4 finds {deep[0]:.0%} for "
    f"{deep[1]:.0f} tokens, to leave it at 2 and take a window of 1 finds {wide[0]:.0%} for {wide[1]:.0f}. "
    f"(One history, {len(QUESTIONS)} questions: an illustration, not a benchmark.)"
)

# %% [markdown]
# ## 5. Which questions fail
#
# The same by kind of question: what share of the evidence stands among the first `k`?

# %%
DEPTHS = (1, 2, 3, 4, 6, 8, 12, 16)
KINDS = list(dict.fromkeys(kind for _, kind, _, _ in QUESTIONS))
places = {}  # question -> the rank of each piece of evidence, when everything is recalled
for question, _, evidence, _ in QUESTIONS:
    order = memory.search(OWNER, question, Retrieval(k=len(said))).receipts
    rank = {(r.record.session, r.record.turn): r.rank for r in order}
    places[question] = [rank[where] for where in evidence]


def found(kind, k):
    ranks = [places[question] for question, of, _, _ in QUESTIONS if of == kind]
    return np.mean([np.mean([place <= k for place in each]) for each in ranks])


by_kind = [[found(kind, k) for k in DEPTHS] for kind in KINDS]
figure = plotting.heatmap(
    by_kind,
    x=[f"k = {k}" for k in DEPTHS],
    y=KINDS,
    texts=[[f"{share:.0%}" for share in row] for row in by_kind],
    low=0,
    high=1,
)
figure.update_layout(height=290, title="Evidence recalled, by kind of question")
figure.show()

# %% [markdown]
# The questions whose evidence stands lowest, and what stood first instead:

# %%
pd.set_option("display.max_colwidth", None)
lowest = sorted(QUESTIONS, key=lambda q: -max(places[q[0]]))[:6]
pd.DataFrame(
    {
        "question": [q for q, *_ in lowest],
        "kind": [kind for _, kind, *_ in lowest],
        "evidence, with its rank": [
            "; ".join(f"{place}. {said[where].text}" for place, where in zip(places[q], evidence, strict=True))
            for q, _, evidence, _ in lowest
        ],
        "first was": [memory.search(OWNER, q, Retrieval(k=1)).receipts[0].record.text for q, *_ in lowest],
    }
)

# %%
needed = {kind: max(max(places[q]) for q, of, _, _ in QUESTIONS if of == kind) for kind in KINDS}
Markdown(
    "**What it shows.** To have all the evidence of every question of a kind, `k` must be "
    + ", ".join(f"{k} ({kind})" for kind, k in needed.items())
    + "."
)

# %% [markdown]
# - **Paraphrase**: the question shares no word with the answer (*hospital*, *Saint Mary's*). Only meaning can bridge
#   that, and a small embedding model bridges some gaps and not others.
# - **Changed**: where the change was not recognised, the older statement competes with the newer one.
# - **Several hops**: the question names one fact (*Ada*), and the answer hangs on another that does not repeat the
#   name. One search looks for what resembles the question; it does not reason from the first hit to the second. What
#   brings the second is that it was said nearby.

# %% [markdown]
# **Not told.** Memory has no answer "nothing found": it always gives the best that there is. Could the score tell?
# Here is the best score of each question above and of eight that the history does not answer.

# %%
NOT_TOLD = (
    "What is my shoe size?",
    "What is my neighbour called?",
    "Which football team do I support?",
    "When is my wedding day?",
    "What colour are my sister's eyes?",
    "What is my wifi password?",
    "How old is Ada?",
    "What did the Volvo cost?",
)


def top(question):
    return memory.search(OWNER, question, Retrieval(k=1)).receipts[0].score


groups = {"told": [q for q, *_ in QUESTIONS], "not told": list(NOT_TOLD)}
best_scores = {name: np.array([top(question) for question in asked]) for name, asked in groups.items()}
figure = go.Figure()
for (name, asked), colour in zip(groups.items(), (look.GREEN, look.ORANGE), strict=True):
    figure.add_scatter(
        x=best_scores[name],
        y=[name] * len(asked),
        mode="markers",
        marker={"color": colour, "size": 12, "opacity": 0.65},
        text=asked,
        hovertemplate="%{text} %{x:.1f}<extra></extra>",
    )
figure.update_yaxes(autorange="reversed", ticksuffix="  ", showgrid=False)
figure.update_xaxes(title="score of the best record", rangemode="tozero")
figure.update_layout(height=200, title="The best score does not tell whether the answer is there")
figure.show()

# %%
over = (best_scores["told"][:, None] > best_scores["not told"][None, :]).mean()
beaten = (best_scores["told"] < best_scores["not told"].max()).sum()
Markdown(
    f"**What it shows.** A told question has the higher score in {over:.0%} of all pairs, yet {beaten} of "
    f"{len(best_scores['told'])} told ones score less than the best of those not told. No threshold parts them, so JC1 "
    "sets none: to say *you have not told me* is the model's part."
)

# %% [markdown]
# ## 6. Other switches, and what the model makes of it
#
# So far we asked what is recalled. Now the model answers, and a reply counts when it holds the right words. A
# preset carries the settings; it need not be saved. `weights` switches signals off, `stopwords=False` searches for
# *the* and *is* too, and `memory="off"` recalls nothing.

# %%
from jc1 import Preset

SETTINGS = {
    "as shipped (k 8)": {},
    "k 1": {"k": 1},
    "k 2, window 1": {"k": 2, "window": 1},
    "k 16": {"k": 16},
    "stopwords kept": {"stopwords": False},
    "words only": {"weights": {"dense": 0, "dense_window": 0}},
    "meaning only": {"weights": {"bm25": 0, "bm25_window": 0, "bm25_session": 0}},
}
rows = []
for name, retrieval in SETTINGS.items():
    preset = Preset("trial", retrieval=retrieval)
    found = np.mean([recall(q, e, **{"k": 8, **retrieval})[0] for q, _, e, _ in QUESTIONS])
    replies = [jc1.chat(q, memory="read", preset=preset, max_tokens=32) for q, *_ in QUESTIONS]
    right = [answer in reply.text for reply, (*_, answer) in zip(replies, QUESTIONS, strict=True)]
    rows.append((name, found, np.mean(right), np.mean([reply.trace.usage.prompt_tokens for reply in replies])))
replies = [jc1.chat(q, memory="off", max_tokens=32) for q, *_ in QUESTIONS]
right = [answer in reply.text for reply, (*_, answer) in zip(replies, QUESTIONS, strict=True)]
rows.append(("memory off", 0.0, np.mean(right), np.mean([reply.trace.usage.prompt_tokens for reply in replies])))
switches = pd.DataFrame(rows, columns=["setting", "evidence recalled", "right replies", "prompt tokens"])
switches = switches.set_index("setting")

figure = go.Figure()
for column, colour in (("evidence recalled", look.BLUE), ("right replies", look.ORANGE)):
    figure.add_bar(
        x=switches[column],
        y=switches.index,
        name=column,
        orientation="h",
        marker_color=colour,
        text=[f"{value:.0%}" for value in switches[column]],
        textposition="outside",
    )
for name, count in switches["prompt tokens"].items():
    figure.add_annotation(text=f"{count:.0f} tokens", x=1.12, y=name, xanchor="left", showarrow=False)
figure.update_yaxes(autorange="reversed", showgrid=False, ticksuffix="  ")
figure.update_xaxes(title="share", tickformat=".0%", range=[0, 1.32], tickvals=[0, 0.25, 0.5, 0.75, 1])
figure.update_layout(
    height=500, showlegend=True, bargap=0.3, margin_t=74, title="What is recalled, and what the model makes of it"
)
figure.show()

# %%
shipped = switches.iloc[0]
Markdown(
    f"**What it shows.** As shipped, {shipped['evidence recalled']:.0%} of the evidence is recalled and "
    f"{shipped['right replies']:.0%} of the replies are right; without memory "
    f"{switches.loc['memory off', 'right replies']:.0%}. The gap between the two bars is the model's: it had the "
    "evidence before it and did not use it. With `k` = 16 it has "
    f"{switches.loc['k 16', 'evidence recalled']:.0%} of the evidence and answers "
    f"{switches.loc['k 16', 'right replies']:.0%}; with `k` = 1, "
    f"{switches.loc['k 1', 'evidence recalled']:.0%} and {switches.loc['k 1', 'right replies']:.0%}. Of meaning and "
    f"words, words alone recall {switches.loc['words only', 'evidence recalled']:.0%}, meaning alone "
    f"{switches.loc['meaning only', 'evidence recalled']:.0%}. (One question is {1 / len(QUESTIONS):.0%}: small "
    "differences here mean nothing.)"
)

# %% [markdown]
# ## 7. What the model reads
#
# The recalled records stand in the user's message as a block of data, oldest first, so that the newest is nearest
# to the question. This is all that the model gets, letter by letter:

# %%
records = [r.record for r in memory.search(OWNER, "What car do I drive?", Retrieval(k=4)).receipts]
print(with_memories(Message.user("What car do I drive?"), records).text)

# %% [markdown]
# The prompt has a budget: the context less what the reply may need. When memories do not fit, the lowest ranks give
# way, and the reply's trace names them in `dropped_memories`. `build` is the function that decides it; here with a
# budget of 300 tokens.

# %%
from jc1.prompt import build

BUDGET = 300
count = jc1.workbench.engine.count
message = Message.user("What car do I drive?")
bare = count((Message.system(DEFAULT_SYSTEM), message))
rows = []
for k in (*KS, 32):
    records = [r.record for r in memory.search(OWNER, message.text, Retrieval(k=k)).receipts]
    prompt = build(DEFAULT_SYSTEM, (), message, records, count=count, budget=BUDGET)
    rows.append((k, count(prompt.messages) - bare, len(prompt.kept_memories), len(prompt.dropped_memories)))
budget = pd.DataFrame(rows, columns=["k", "tokens of memories", "kept", "dropped"])

figure = go.Figure()
names = [f"k = {k}" for k in budget["k"]]
figure.add_bar(x=[bare] * len(names), y=names, orientation="h", marker_color=look.QUIET, name="system and question")
figure.add_bar(
    x=budget["tokens of memories"], y=names, orientation="h", marker_color=look.BLUE, name="recalled memories"
)
for name, row in zip(names, budget.itertuples(), strict=True):
    figure.add_annotation(
        text=f"{row.kept} kept" + (f", <b>{row.dropped} dropped</b>" if row.dropped else ""),
        x=BUDGET + 8,
        y=name,
        xanchor="left",
        showarrow=False,
    )
figure.add_vline(BUDGET, line={"color": look.ORANGE, "dash": "dot", "width": 2})
figure.add_annotation(
    text="budget", x=BUDGET, y=1, yref="paper", yanchor="bottom", showarrow=False, font_color=look.ORANGE
)
figure.update_yaxes(autorange="reversed", showgrid=False, ticksuffix="  ")
figure.update_xaxes(title="tokens of the prompt", range=[0, BUDGET * 1.4], tickvals=[0, 100, 200, 300])
figure.update_layout(
    barmode="stack", height=370, showlegend=True, margin_t=88, title=f"What fits into a prompt of {BUDGET} tokens"
)
figure.show()

# %%
last = budget.iloc[-1]
first_drop = budget[budget["dropped"] > 0]["k"].min()
Markdown(
    f"**What it shows.** System prompt and question take {bare} of the {BUDGET} tokens. From `k` = {first_drop} on "
    f"records are dropped; at `k` = {last['k']} {last['kept']} of {last['kept'] + last['dropped']} are read. A larger "
    "`k` is then only a longer list of what was left out. The system prompt and the question never give way."
)

# %%
jc1.close()

# %% [markdown]
# ## What to turn, and when
#
# | you see | turn |
# |---|---|
# | the answer was told and is not among the receipts | a larger `k`; a `window` where answers follow in the next turn |
# | it is among the receipts and the reply is wrong | the model, or a smaller `k`: less to be confused by |
# | an outdated fact comes back | say the change in words (*is now called*), or exclude the old record |
# | `dropped_memories` is not empty | a smaller `k`, a shorter system prompt, fewer tokens for the reply |
# | something must always be known | pin it: a pinned record is in every recall |
#
# Try it on what you know: replace `HISTORY` and `QUESTIONS`. [docs/memory.md](../docs/memory.md) has the figures of
# a public benchmark, LoCoMo, for the same settings.
