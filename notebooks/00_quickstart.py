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
# # Quickstart: a chat that remembers
#
# One pipeline serves the notebook, the web page, the REST API and the command line. Here we talk to it, ask it
# why it answered as it did, and where the time went. Nothing below needs a network: the model is `jc1-tiny`,
# a few million parameters that come with JC1. It can only greet, take in facts and recall them; for anything
# else change one word, `MODEL`.

# %%
import tempfile

from jc1 import Settings, SyncPipeline

MODEL = "jc1-tiny"  # or a folder, or a Hugging Face id such as "Qwen/Qwen3-0.6B"

# A home folder of its own, so that this notebook leaves your memories alone.
jc1 = SyncPipeline(Settings(home=tempfile.mkdtemp(), model=MODEL))

# %% [markdown]
# ## Tell it something, then ask in another conversation
#
# `session` names a conversation. The second one begins with an empty history: the answer can only come from
# memory.

# %%
print(jc1.chat("My cat is called Ada.", session="monday").text)
print(jc1.chat("I live in Lisbon.", session="monday").text)

# %%
reply = jc1.chat("What is my cat called?", session="tuesday")
print(reply.text)

# %% [markdown]
# ## Why this answer
#
# Every reply carries a trace. It names the memories that were recalled, best first, with the score of each
# search: `dense` is the cosine between the embeddings of question and memory, `lexical` the BM25 score of
# its words. `score` sums these two with the same of what was said around it, its day and its speaker, each as z-scores.

# %%
import pandas as pd

recalled = pd.DataFrame(reply.trace.recalled)
recalled.insert(1, "text", [jc1.workbench.memory.get("local", i).text for i in recalled["id"]])
recalled[["rank", "text", "score", "dense_score", "lexical_score", "session"]].round(3)

# %% [markdown]
# ## Where the time went
#
# The same stage names stand in traces, metrics and dashboards. `prefill` is the time until the first token,
# `decode` the rest of the reply.

# %%
from jc1_ui.components.plots import waterfall

waterfall(reply.trace).show()

# %% [markdown]
# ## Facts change
#
# A newer statement on the same subject supersedes the older one. The old one is kept as history, and no
# longer recalled.

# %%
print(jc1.chat("My cat is now called Bo.").text)
print(jc1.chat("What is my cat called?").text)

# %% [markdown]
# ## What it was not told
#
# A model that invents is worse than none. `jc1-tiny` is trained to say so.

# %%
print(jc1.chat("Where does my sister work?").text)

# %% [markdown]
# ## Token by token
#
# `stream` yields what happens as it happens: `Recalled`, then `Token` after `Token`, then `Done`. With
# `logprobs` each token carries its probability and the likeliest alternatives, so one sees where the model
# was unsure.

# %%
import math

from jc1 import Done, Token

for event in jc1.stream("Where do I live?", logprobs=2):
    if isinstance(event, Token):
        for token in event.logprobs or ():
            others = ", ".join(f"{a.text!r} {math.exp(a.logprob):.2f}" for a in token.top[1:])
            print(f"{token.text!r:12} {math.exp(token.logprob):.2f}   instead: {others}")
    elif isinstance(event, Done):
        print("\n" + event.reply.text)

# %%
jc1.close()

# %% [markdown]
# ## Next
#
# - `jc1 serve` puts the same pipeline behind a web page and an OpenAI-compatible API.
# - `reply.trace.to_dict()` holds everything the page shows.
