# %% [markdown]
# # From sweep to champion
#
# Which settings are best for my prompts, how sure am I, and what do they cost? This notebook answers it once, from the
# first plan to the moment when the server uses the winner:
#
# 1. describe the settings to try, and see beforehand what the sweep can show
# 2. run it: every trial asks the same prompts, all of them in one batch
# 3. read the result with its uncertainty, and see the winner proved on prompts that the search did not see
# 4. promote the winner, serve it by name, and take it back
#
# Prompts: `memory-qa`, questions about what somebody told earlier. To try your own model, change `MODEL`; to ask your
# own questions, give `SUITE` the path of a JSONL file ([the format](../docs/suites.md)).

# %%
MODEL = "jc1-tiny"  # or the folder of a model, or a hub id
ENGINE = "transformers"  # or vllm, which takes many more requests at a time
SUITE = "memory-qa"
PROMPTS = 400

# %%
import os
import tempfile

os.environ["JC1_HOME"] = tempfile.mkdtemp()  # leave this line out to keep what follows under ~/.jc1

from IPython.display import Markdown

from experiments import Load, Sweep
from experiments.figures import look
from experiments.figures import sweeps as plots
from experiments.figures.report import headline
from jc1 import Settings, SyncPipeline

look.use()
settings = Settings.load({"engine": ENGINE, "model": MODEL})

# %% [markdown]
# ## What to try
#
# A space names settings and their values. Here: how many memories are recalled for a question (`k`), none at all, and
# whether the reply is sampled. The baseline, with which every trial is compared, is what JC1 does unless told
# otherwise, with short replies: 8 memories, no sampling.

# %%
space = {
    "baseline": {"decoding": {"max_tokens": 48}},
    "decoding": {"temperature": [0, 0.7]},
    "retrieval": {"memory": [True, False], "k": [1, 2, 4]},
    "constraints": ["temperature == 0 or retrieval.k == 2"],
}
sweep = Sweep(
    space,
    suite=SUITE,
    limit=PROMPTS,
    repeats=3,
    loads=[Load(concurrency=4)],
    requests=16,
    blocks=3,
    name="memories",
    settings=settings,
)
for name, told in sweep.plan().lines():
    print(f"{name:<11} {told}")

# %% [markdown]
# The last line is worth a look before any time is spent. A difference smaller than that would most likely be missed:
# if it is larger than what matters to you, take more prompts. Repeats do not help there: asking a prompt three times
# says more about that prompt and nothing about others.
#
# ## Run it
#
# All trials and prompts go through the engine together. Interrupted, it would go on with `sweep.run(resume=True)`.

# %%
result = sweep.run(progress=False)
print(headline(result))

# %% [markdown]
# ## Read it
#
# Each bar is a 95 % interval: where the mean would lie with other prompts of the same kind.

# %%
for trial in sorted(result.trials, key=lambda t: -t.metrics["score"].mean):
    score, compared = trial.metrics["score"], trial.comparison
    against = f"{compared.difference:+.2f}  {compared.verdict}" if compared else ""
    note = f"stopped after {trial.prompts} prompts" if trial.state == "stopped" else against
    print(f"{trial.label:<32} {score.mean:.2f}  ({score.low:.2f} to {score.high:.2f})  {note}")

# %%
plots.pareto(result)

# %% [markdown]
# Trials that were sure to stay behind were stopped early; they count when p is corrected for how many were tried.
#
# ## Is the winner really better?
#
# The best of several looks better than it is: part of what lifted it to the top was luck with these prompts. So it was
# asked again, beside the baseline, on prompts that were kept back. Compare the two differences below: what the search
# promised, and what is left of it.

# %%
plots.winner(result)

# %%
held = result.verified
Markdown(
    f"In the search the winner had **{held.search.mean:.2f}**, on held-out prompts **{held.heldout.mean:.2f}**; the "
    f"baseline has **{held.baseline.mean:.2f}** there. The difference, prompt by prompt, is "
    f"**{held.comparison.difference:+.2f}** (95 %: {held.comparison.low:+.2f} to {held.comparison.high:+.2f}): "
    f"**{held.comparison.verdict}**."
)

# %% [markdown]
# ## What does it cost?
#
# Only the best were timed, in turns with the baseline, so that a slow minute of this machine hits both.

# %%
for trial in result.trials:
    for latency in trial.latency:
        print(
            f"{trial.label:<32} first token {1000 * latency.ttft.p50:4.0f} ms, whole reply "
            f"{1000 * latency.total.p50:4.0f} ms (medians of {latency.requests}), {latency.load}"
        )

# %% [markdown]
# ## Serve it
#
# Promotion writes the settings as a preset and points the alias `champion` at it. It holds the trial against what the
# alias means now, and refuses what was not shown to be better, unless it is forced to.

# %%
from experiments.promotion import promote
from jc1.errors import NotProven

with SyncPipeline(settings) as jc1:
    presets = jc1.pipeline.presets
    try:
        promotion = promote(result, result.winner, presets)
    except NotProven as refused:
        print(refused.message, "\n\nForced, to show the rest:\n")
        promotion = promote(result, result.winner, presets, force=True)
    print("\n".join(promotion.lines()))
    jc1.chat("My cat is called Ada.", preset="champion")
    reply = jc1.chat("What is my cat called?", preset="champion")
    print(f"\n{reply.trace.preset}: {reply.text}")

# %% [markdown]
# A running server notices within seconds: `"preset": "champion"`, or `"model": "jc1-tiny@champion"` from any OpenAI
# client. On the command line the same is `jc1 sweep`, `jc1 promote memories`, and `jc1 rollback` to take it back.
#
# The whole result is one HTML file to hand on, `report.html` in the sweep's folder, and an MLflow run with every trial,
# prompt and figure.
#
# **Try next:** your own prompts as `SUITE`; `system:` with two ways to put the instruction; `speculation` under
# `engine:`. [docs/lab.md](../docs/lab.md) tells the rest.
