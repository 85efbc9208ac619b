# %% [markdown]
# # From sweep to champion
#
# Which settings are best for my prompts, how sure am I, and what do they cost? This notebook answers it once, from the
# settings that are served today to the moment when the server uses better ones, and back:
#
# 1. describe the settings to try, and see beforehand what the sweep can show
# 2. run it: every trial asks the same prompts, all of them in one batch
# 3. read the result with its uncertainty
# 4. see whether the winner is better on prompts that the search did not see
# 5. see what it costs
# 6. promote the winner, serve it by name, and take it back
#
# Prompts: `memory-qa`, questions about what somebody told earlier. To try your own model, change `MODEL`; to ask your
# own questions, give `SUITE` the path of a JSONL file ([the format](../docs/suites.md)).

# %%
MODEL = "jc1-tiny"  # or the folder of a model, or a hub id
ENGINE = "transformers"  # or vllm, which takes many more requests at a time
SUITE = "memory-qa"
PROMPTS = 120

# %%
import os
import tempfile

os.environ["JC1_HOME"] = tempfile.mkdtemp()  # leave this line out to keep what follows under ~/.jc1

from IPython.display import Markdown

from jc1 import Preset, Settings, SyncPipeline
from jc1_lab import Load, Sweep, run_sweep
from jc1_lab.plots import style as look
from jc1_lab.plots import sweeps as plots
from jc1_lab.sinks.report import headline

look.use()
settings = Settings.load({"engine": ENGINE, "model": MODEL})

# %% [markdown]
# ## 1. What to try
#
# Say that a chat without memory is served today: each question is answered as if nothing had been told before. Its
# settings have a name, the preset `forgetful`, and the alias `champion` points at it. Clients ask for `champion`, so
# whatever it points at is what they get.

# %%
with SyncPipeline(settings) as jc1:
    presets = jc1.workbench.presets
    served = presets.save(Preset("forgetful", decoding={"max_tokens": 48}, retrieval={"k": 0}))
    presets.set_alias("champion", served.reference)
    print(presets.aliases())

# %% [markdown]
# Is memory worth what it costs, how many memories should a question get, and should replies be sampled? A space names
# settings and their values: here `k`, the number of memories that are recalled, and the temperature. We want a high
# score and a short prompt, since each memory is more to read. Every trial is compared with a baseline, which is the
# champion where there is one.

# %%
space = {
    "objectives": {"score": "max", "prompt_tokens": "min"},
    "decoding": {"temperature": [0, 1.0], "max_tokens": 48},
    "retrieval": {"k": [1, 2, 4, 8]},
}
sweep = Sweep(
    space,
    suite=SUITE,
    limit=PROMPTS,
    repeats=2,
    loads=[Load(concurrency=4)],
    requests=8,
    blocks=3,
    name="memories",
    settings=settings,
)
for name, told in sweep.plan.lines():
    print(f"{name:<11} {told}")

# %% [markdown]
# The last line is worth a look before any time is spent. A difference smaller than that would most likely be missed:
# if it is larger than what matters to you, take more prompts. Repeats do not help there: asking a prompt twice says
# more about that prompt and nothing about others.
#
# ## 2. Run it
#
# All trials and prompts go through the engine together. Interrupted, it would go on with
# `run_sweep(sweep, resume=True)`.

# %%
result = run_sweep(sweep, progress=False)
print(headline(result))

# %% [markdown]
# ## 3. Read it
#
# A line for each trial, the best first: its mean score, in brackets the 95 % interval in which the mean would lie with
# other prompts of the same kind, and how much more it scores than the baseline on the same prompts. The verdict is
# corrected for the number of trials: among many, one looks good by luck.

# %%
for trial in sorted(result.trials, key=lambda t: -t.metrics["score"].mean):
    score, compared = trial.metrics["score"], trial.comparison
    against = f"{compared.difference:+.2f}  {compared.verdict}" if compared else ""
    print(f"{trial.label:<32} {score.mean:.2f}  ({score.low:.2f} to {score.high:.2f})  {against}")

# %% [markdown]
# The same scores by the two settings; an empty cell was not tried. Read along a row what more memories bring, and along
# a column what sampling does; then look at the intervals above before you believe a small step.

# %%
plots.heatmap(result).update_layout(title_text="Mean score by temperature and number of memories", margin_t=48)

# %% [markdown]
# ## 4. Is the winner really better?
#
# The best of several looks better than it is: part of what lifted it to the top was luck with these prompts. So it was
# asked again, beside the baseline, on prompts that were kept back. A dot is a mean, its bar the 95 % interval. Compare
# the two differences below: what the search promised, and what is left of it.

# %%
plots.winner(result).update_layout(title_text="The winner beside the baseline", margin_t=64)

# %%
held = result.verified
WHAT_IT_MEANS = {
    "better": "All of the interval is above 0: the winner is shown to be better, and may be promoted.",
    "not distinguishable": "That is nothing to act on: ask more prompts, or stay with the baseline.",
    "worse": "All of the interval is below 0: what the search promised was luck, so stay with the baseline.",
}
Markdown(
    f"In the search the winner had **{held.search.mean:.2f}**, on held-out prompts **{held.heldout.mean:.2f}**; the "
    f"baseline has **{held.baseline.mean:.2f}** there. The difference, prompt by prompt, is "
    f"**{held.comparison.difference:+.2f}** (95 %: {held.comparison.low:+.2f} to {held.comparison.high:+.2f}): "
    f"**{held.comparison.verdict}**. {WHAT_IT_MEANS[held.comparison.verdict]}"
)

# %% [markdown]
# That is said of the winner and the baseline. It does not say that the winner beats its neighbours in the list above.
#
# ## 5. What does it cost?
#
# Each memory is more to read. Up and to the left is better: what stands further right costs more, and must be worth
# it. A Pareto member is a trial that no other beats in both at once.

# %%
figure = plots.pareto(result)
figure.update_layout(title_text="Score and what must be read for it", margin_t=84)

# %% [markdown]
# What does that mean in time? The baseline, the winner and the Pareto members were timed. They took turns, so that a
# slow minute of this machine hits all alike.

# %%
for trial in (trial for trial in result.trials if trial.latency):
    latency, tokens = trial.latency[0], trial.metrics["prompt_tokens"].mean
    print(
        f"{trial.label:<24} {tokens:4.0f} tokens to read, first token {1000 * latency.ttft.p50:4.0f} ms, whole reply "
        f"{1000 * latency.total.p50:4.0f} ms (medians of {latency.requests}, {latency.load})"
    )

# %% [markdown]
# ## 6. Serve it, and take it back
#
# Promotion writes the winner's settings as a preset and points the alias at it. It holds the winner against what the
# alias means now, and refuses what was not shown to be better. (`force=True` would overrule it, for a change that you
# want for other reasons, such as a shorter prompt.)

# %%
from jc1.errors import NotSignificant
from jc1_lab.promotion import promote

jc1 = SyncPipeline(settings)
presets = jc1.workbench.presets
try:
    print("\n".join(promote(result, result.winner, presets).lines()))
except NotSignificant as refused:
    print(refused.message)

# %% [markdown]
# Somebody tells something, and asks in another conversation. The client asks for `champion` and need not know what that
# is today. A running server notices within seconds: `"preset": "champion"`, or `"model": "jc1-tiny@champion"` from any
# OpenAI client.

# %%
jc1.chat("My cat is called Ada.", session="monday")


def ask_champion():
    """What the champion, whichever it is, answers in a new conversation."""
    reply = jc1.chat("What is my cat called?", memory="read", preset="champion")
    print(f"{reply.trace.preset}: {reply.text}")


ask_champion()

# %% [markdown]
# If users complain, one step takes it back, and the next request is answered as before.

# %%
from jc1.errors import Conflict

try:
    print("champion is", presets.rollback("champion").reference)
except Conflict as nothing:  # the promotion was refused
    print(nothing.message)
ask_champion()
print(
    "\nnewest first:",
    *(f"{move.reference}{', taken back' * bool(move.undone)}" for move in presets.history("champion")),
)
jc1.close()

# %% [markdown]
# On the command line the same is `jc1 sweep`, `jc1 promote memories` and `jc1 rollback`.
#
# The whole result is one HTML file to hand on, `report.html` in the sweep's folder, and an MLflow run with every trial,
# prompt and figure.
#
# **Try next:** your own prompts as `SUITE`; `system:` with two ways to put the instruction; `speculation` under
# `engine:`. [docs/lab.md](../docs/lab.md) tells the rest.
