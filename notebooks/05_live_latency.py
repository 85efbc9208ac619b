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
# # Live latency: what load does to a reply
#
# One request alone is quick. Users do not come alone. Here we put load on a model, watch what happens while
# it happens, find the point from which more load only makes everybody wait, and count the replies that are
# worth having.
#
# Two words first. **Time to first token** (TTFT) is how long somebody stares at nothing. **Time per output
# token** (TPOT) is how fast the text then flows; below some 100 ms it keeps ahead of a reader.
#
# Change `TARGET` to measure something of your own: a model is started here, a URL is asked over the network.
# A JC1 server is asked to read its memories and never to write any.

# %%
import tempfile
from itertools import pairwise

from IPython.display import Markdown, display

from jc1 import Preset
from jc1.memory.base import NewRecord
from jc1.messages import Message
from jc1_lab.latency.load import drive
from jc1_lab.latency.measure import Objective, measure
from jc1_lab.latency.targets import PipelineTarget, open_target
from jc1_lab.plots.dashboard import Dashboard, bundle, watch
from jc1_lab.plots.latency import compare_loads, goodput_curve
from jc1_lab.records.items import Item
from jc1_lab.records.results import Load

SECONDS, MOST = 5, 240  # of load in each live part, and requests in it: each is a dot
TARGET = "jc1-tiny"  # or "echo", a folder, a hub id such as "Qwen/Qwen3-0.6B", or a server: "http://127.0.0.1:8000/v1"

target = await open_target(TARGET, home=tempfile.mkdtemp())
preset = Preset("notebook", decoding={"max_tokens": 48})

# %% [markdown]
# The questions are about facts that we put into memory first, so that every stage has something to do. To a
# server they are just questions: its memory stays as it is.

# %%
FACTS = {
    "cat": "My cat is called Ada.",
    "dog": "My dog is called Bo.",
    "sister": "My sister is called Mira.",
    "brother": "My brother is called Jonas.",
    "boss": "My boss is called Petra.",
    "neighbour": "My neighbour is called Emil.",
    "horse": "My horse is called Luna.",
    "teacher": "My teacher is called Ivan.",
}
WAYS = ("What is my {} called?", "Do you remember what my {} is called?", "Tell me what my {} is called.")

if isinstance(target, PipelineTarget):
    target.workbench.memory.add("local", [NewRecord(fact, "user") for fact in FACTS.values()])
prompts = [Item(f"{who}-{i}", (Message.user(way.format(who)),)) for i, way in enumerate(WAYS) for who in FACTS]


async def ask(item: Item):
    return await target.send(item, preset, seed=0)


async def live(dashboard: Dashboard, load: Load):
    """Put load on the target for some seconds, and show the dashboard in one place until the last reply has ended."""
    view = display(bundle(dashboard.figure), raw=True, display_id=True)
    requests = drive(ask, (prompts * MOST)[:MOST], load, seconds=SECONDS, watcher=dashboard)
    await watch(requests, dashboard, lambda figure: view.update(bundle(figure), raw=True))


for item in prompts[:3]:  # warm up: the first requests of a process pay for things that later ones do not
    timing = await ask(item)
    print(f"{item.messages[0].text}  first token {timing.ttft * 1000:.0f} ms, whole {timing.total * 1000:.0f} ms")

# %% [markdown]
# ## 1. A closed loop, live
#
# Four users. Each sends a request, waits for the whole reply, sends the next. That is a **closed loop**:
# never more than four requests are in flight, however slow the target is.
#
# Each dot below is a request that ended. The lines are running percentiles: half of the recent requests were
# below `p50`, nine of ten below `p90`. At the bottom is where the time went; `queue` is time in which the
# engine was busy with others.

# %%
closed = Dashboard(f"Closed loop: 4 at a time on {TARGET}")
await live(closed, Load(concurrency=4))

# %% [markdown]
# ## 2. How much can it take?
#
# `measure` is the same without the picture, as a sweep uses it: blocks with other loads in between, so that a
# slow minute of the machine hits all alike; before each block the prefix cache is emptied and some requests
# warm up uncounted. Look at the two halves together.

# %%
members = {0: (target, preset)}
loads = [Load(concurrency=n) for n in (1, 4, 16, 64)]
by_concurrency = (await measure(members, prompts, loads, requests=64, blocks=2, warm_up=2))[0]
compare_loads(by_concurrency, title=f"Closed loop on {TARGET}: what more at a time gains and costs").show()

# %% [markdown]
# Requests that run together share the work of reading the weights, so throughput grows, at first. Where it stops
# growing is the **knee**: from there on, what is added only waits. Where is it here? (We call a step flat that brings
# less than a fifth more.)

# %%
steps = [
    (a, b, b.tokens_per_second / a.tokens_per_second, b.ttft.p50 / a.ttft.p50) for a, b in pairwise(by_concurrency)
]
for few, many, gain, wait in steps:
    print(f"from {few.load} to {many.load}: {gain:.2f} times the tokens, {wait:.1f} times the wait for the first one")
flat = [few.load for few, _, gain, _ in steps if gain < 1.2]
capacity = max(latency.requests_per_second for latency in by_concurrency)
Markdown(
    (
        f"The first step that is flat begins at **{flat[0]}**. "
        if flat
        else "No step is flat: the knee lies further on. "
    )
    + f"The most that was answered is **{capacity:.1f} replies a second**. That is about the capacity of this target "
    "for these questions."
)

# %% [markdown]
# ## 3. An open loop, past the knee
#
# The closed loop hides something: its users are patient. When replies are slow, they ask less often, so the
# load goes down just when it hurts. Real users do not know of each other. In an **open loop** requests arrive
# at random times at a set rate (a Poisson process), whatever is still running, and each is timed from the
# moment at which it *should* have been sent. Let twice as much arrive as the target can take.
#
# We also say now what we want: an **objective**. What keeps it is blue, what misses it is orange.

# %%
OBJECTIVE = Objective(ttft=1.0, tpot=0.1)  # seconds

rate = 2 * capacity
past = Dashboard(f"Open loop: {rate:.0f} arrivals a second on {TARGET}", objective=OBJECTIVE)
await live(past, Load(rate=rate))

# %%
answered = sorted((sample for sample in past.samples if sample.ok), key=lambda sample: sample.planned)
tenth = max(1, len(answered) // 10)
first, last = ([sample.ttft for sample in part] for part in (answered[:tenth], answered[-tenth:]))
Markdown(
    f"The first tenth of the requests waited {sum(first) / tenth:.2f} s for the first token, the last tenth "
    f"**{sum(last) / tenth:.2f} s**. {len(answered) / max(sample.ended for sample in answered):.1f} replies a second "
    f"came of {rate:.0f} that were asked for."
)

# %% [markdown]
# The engine works as hard as before. (Where the queue fills its batches better than our closed loop did, it answers a
# little more than the capacity above.) But while more arrives than leaves, requests in flight pile up, and each new
# one waits behind all of them, so the time to the first token climbs for as long as the load lasts. Its percentiles
# mean little here: load longer, and they are larger. When arrivals end, what is in flight drains.
#
# ## 4. Goodput
#
# Throughput counts every reply, also one that nobody waited for. **Goodput** counts a second's replies that
# kept the objective. Let us offer less and more than the capacity.

# %%
rates = [Load(rate=share * capacity) for share in (0.4, 0.8, 1.2, 2.0, 4.0)]
by_rate = (await measure(members, prompts, rates, requests=96, blocks=2, warm_up=2, objective=OBJECTIVE))[0]
figure = goodput_curve(by_rate, OBJECTIVE)
figure.update_yaxes(title_text="replies a second").update_layout(margin_l=64)
figure.show()

# %%
peak, most = max(by_rate, key=lambda latency: latency.goodput), by_rate[-1]
Markdown(
    f"Goodput is highest, {peak.goodput:.1f} a second, where {peak.load.rate:.0f} arrive. Where {most.load.rate:.0f} "
    f"arrive, {most.requests_per_second:.1f} replies a second are given and **{most.goodput:.1f}** are worth having"
    + (
        ": the target works for replies that come too late."
        if most.goodput < 0.8 * peak.goodput
        else ". That is hardly less: this load was too short for a queue that breaks the objective. Raise `requests`."
    )
)

# %% [markdown]
# While the target keeps up, both lines follow the arrivals. Past the knee replies level off at capacity, and goodput
# falls away as soon as the queue is longer than the objective allows. Run such a service where goodput still follows
# the arrivals, and turn away, or send to another replica, what exceeds that. (Lines that go up and down, or leave the
# arrivals early, tell of a machine that had other things to do meanwhile: run this part again.)
#
# ## What these figures are not
#
# - Each rate was measured with some 200 requests, in two blocks. That shows the shape, not the third digit: for a
#   decision take more requests and more blocks. How deep goodput falls depends on how long the overload lasts.
# - `p99` of fewer than 100 requests is the slowest of them, so the dashboard calls it that.
# - Drawing costs the same processor that serves here. The dashboard is for looking, `measure` for figures.
# - Questions that come again may be found in an engine's prefix cache. Give `measure` at least as many
#   prompts as a block has requests; ours repeat, on an engine that keeps no prefixes.
# - A server is timed from outside, network included.

# %%
await target.close()
