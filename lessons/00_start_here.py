# ---
# workshop:
#   title: Start here
#   question: What does a language model say about a company it has never heard of, and what changes when it can read?
#   ends_with: a machine known to be good, a first hallucination, a first answer with its sources
#   claims: [R0]
#   minutes: 15
#   outcomes:
#     - check that your machine is ready, and know what to send when it is not
#     - recognise a hallucination by comparing an answer with its evidence
#     - get an answer together with the passages it was given, and say what that does and does not prove
#   prerequisites:
#     - You can read Python. Nothing about machine learning is assumed.
# ---

# %% [markdown]
# A team has a few hundred internal documents and wants a language model to answer questions about them.
# Somebody says: *"use RAG"*: let the model look things up. Somebody else says: *"fine-tune it"*: teach the model our
# documents. A third says: *"do both"*. Each of them has reasons, and hardly anybody has measurements.
#
# This workshop measures. One company, one set of questions, one small model that runs on the machine in front
# of you. Every claim that is usually made gets an experiment, a figure and an interval. Where a figure spoils a
# good story, you will see that too.
#
# | | what it changes | in this workshop |
# |---|---|---|
# | **RAG** (retrieval-augmented generation) | the prompt: relevant passages are put in front of the question | lessons 01 to 04 |
# | **Fine-tuning** | the model's weights: it is trained on examples | lessons 05 to 07 |
# | **Both** | one after the other | lesson 08 |
#
# How to use a notebook: run a cell with *Shift-Enter*. Before a cell that shows a result, **say what you expect**.
# The cells that surprise you are the ones that teach you something.

# %% [markdown]
# ## 1. Is this machine ready?
#
# The doctor checks what can go wrong and says how to fix it. If a line says FAIL, do what it says. If you ask
# somebody for help, send them the block at the end.

# %% tags=["nbval-ignore-output"]
from workshop_utils.cli.doctor import diagnose, render

report = diagnose()
print(render(report))

# %% [markdown]
# ## 2. Meet the model
#
# The model is **SmolLM2-135M-Instruct**: 135 million parameters, a hundred megabytes, made to run anywhere. Models
# behind well-known assistants are hundreds to thousands of times larger. A small model has an advantage in a
# workshop: it is fast enough to measure things, and its mistakes are easy to see. Everything you build here takes a
# bigger model with one setting.
#
# `load_llm` returns a LangChain chat model. `adapter=None` means the model as its makers published it; what the adapter is,
# and why it is there by default, comes in section 7. `stream` hands out pieces of the answer as they are made.

# %%
import time

from workshop_utils.models import load_llm

llm = load_llm(adapter=None, max_tokens=60)

# %% tags=["nbval-ignore-output"]
for piece in llm.stream("What is the capital of Japan?"):
    print(piece.content, end="", flush=True)

# %% [markdown]
# It knows Tokyo, because its training text mentioned Tokyo many thousands of times. (Ask for other capitals: it does not
# know them all.)
#
# ## 3. A first hallucination
#
# **Clairval** makes infusion pumps and hospital software. It is an invented company: no model can have read about it.
# Its staff handbook says how many training days an employee has a year.
#
# > **Predict before you run.** The model has never seen this handbook. Will it say that it does not know? Will it
# > refuse? Or something else?

# %% tags=["nbval-ignore-output"]
question = "How many training days does an employee of Clairval have each calendar year?"
closed_book = llm.invoke(question).content
print(closed_book)

# %% [markdown]
# The answer is fluent and sure of itself. Is it right? The handbook is on your disk, so we can look.

# %%
from workshop_utils.corpus import load_documents

documents = load_documents()
handbook = {document.id: document for document in documents}
section = handbook["HR-06"].page_content
start = section.index("Besides the money")
print(section[start : start + 170], "...")

# %% [markdown]
# The handbook says 6 training days. Let code decide, not our goodwill: the gold answer either stands in the
# model's answer or not.

# %%
from workshop_utils.evaluation import contains_answer

gold = ("6 training days", "6 days", "six days", "six training days")
print("the answer from memory is right:", contains_answer(closed_book, gold))

# %% [markdown]
# An answer that sounds right and has nothing behind it is called a **hallucination**. It is not a malfunction: the
# model was trained to continue text plausibly, and it did. Nothing in it marks the border between what it
# has read and what only sounds like it.
#
# ## 4. What the company knows
#
# Clairval's documents lie in six collections. All of them are written for this workshop, and every person, product,
# drug and publication in them is fictional (`data/DATASHEET.md` says more).

# %%
import pandas as pd

words = {document.id: len(document.page_content.split()) for document in documents}
table = pd.DataFrame(
    {
        "collection": [document.metadata["collection"] for document in documents],
        "words": [words[str(document.id)] for document in documents],
    }
)
table.groupby("collection")["words"].agg(["count", "sum"]).rename(columns={"count": "documents", "sum": "words"})

# %% [markdown]
# Two documents are not in this table: personnel cases and a legal matter, which only some groups may read.
# `load_documents()` hands out what *everyone* may read. Lesson 03 is about who may know what.
#
# ## 5. The same question, with the documents at hand
#
# `load_rag` puts together a complete RAG system: it cuts the documents into passages, turns each passage into a
# vector, finds the three passages closest to a question, and puts the best of them into the prompt. Lesson 01 builds
# every part by hand. Here we only use it. The first call embeds the whole corpus; later calls find the index on
# disk.

# %% tags=["nbval-ignore-output"]
from workshop_utils.rag import load_rag

started = time.perf_counter()
rag = load_rag(llm, progress=True)
print(f"ready after {time.perf_counter() - started:.1f} s")

# %% [markdown]
# > **Predict before you run.** Same model, same question. What will it say now?

# %% tags=["nbval-ignore-output"]
answer = rag.ask(question)
print(answer.text)

# %% [markdown]
# And where does that come from? The sources are listed **by code**: the three passages that were found, and which of
# them the model was given. That list is always right about what the model was *given*. It does not prove that the
# model *used* it.

# %%
for source in answer.sources:
    print(f"[{source.label}] {source.document}: {source.text.splitlines()[0]}", "(given to the model)" * source.read)

# %%
evidence = "Besides the money, each employee has 6 training days a calendar year"
print("the evidence is among the retrieved passages:", any(evidence in source.text for source in answer.sources))

# %% [markdown]
# Now **you** can check the answer against its evidence, in seconds. With the answer from memory there was nothing to
# check. That, more than the answer itself, is what retrieval brings.
#
# ## 6. Was the model changed?
#
# Claim **R0** says: *the model stays as it is; each query retrieves documents and puts them into the prompt.* Claims
# are there to be tested. If a weight had changed, the hash of the model's file in memory or on disk would have to
# change somewhere; the simplest test is to compare what the model says *without* passages before and after.

# %%
from workshop_utils.models import store

before = store.LLM.files[0].sha256
after = store.sha256(store.llm_gguf())
again = llm.invoke(question).content
print("the weights on disk are the ones that were shipped:", before == after)
print("asked from memory again, it says the same:", again == closed_book)

# %% [markdown]
# The model has learned nothing. Ask without passages, and it hallucinates as before. Everything it 'knew' stood in
# the prompt. Lesson 01 repeats this test on dozens of questions, with the weights hashed in memory.
#
# ## 7. A model that has learned to read
#
# One question proves nothing, and this one was chosen because it works. On {{results/reader.json:n|d}} development
# questions with one fact each, the untouched model answers
# **{{results/reader.json:ways.best_prompt.correct.value|.0%}}** correctly with the best passage and the best prompt that we found
# (95% interval {{results/reader.json:ways.best_prompt.correct.low|.0%}} to
# {{results/reader.json:ways.best_prompt.correct.high|.0%}}), and from memory
# {{results/reader.json:ways.closed_book.correct.value|.0%}}. It *reads* badly: given three passages instead of one, and asked to say
# which of them it used, it gets worse (lesson 01 measures this).
#
# Large models read well because they were trained to follow instructions on texts of all kinds. Ours gets the same in small:
# a **reader adapter**, 5 MB of weights beside the model's own, trained once on passages and questions of *other* invented
# organisations (a library, a ferry line, a mountain club), **never on Clairval**. It has learned to read three numbered passages, to
# answer in a few words with the number of the passage, and to say `not in the documents`. Lesson 08 shows how it was made.
#
# From here on it is the default: `load_llm()` has it, `load_llm(adapter=None)` does not.
#
# > **Predict before you run.** Three questions, first to the untouched model, then with the reader. Who answers more of them?

# %% tags=["nbval-ignore-output"]
reader_rag = load_rag(load_llm(max_tokens=60))
for asked in (
    "How many training days does an employee have each calendar year?",
    "At which site is the second copy of the backups stored?",
    "Which colour is the CEO's bicycle?",
):
    print(asked)
    print("   untouched:  ", rag.ask(asked).text.replace("\n", " ")[:100])
    print("   with reader:", reader_rag.ask(asked).text)

# %% [markdown]
# The number in brackets is a **citation** that the model wrote: *I have this from passage 2.* Unlike the source list, it can be
# wrong. Measured both ways, on the same questions:
#
# | | answer correct | right citation | says `not in the documents` where that is right |
# |---|---|---|---|
# | untouched, from memory | {{results/reader.json:ways.closed_book.correct.value|.2f}} | | |
# | untouched, best prompt, 1 passage | {{results/reader.json:ways.best_prompt.correct.value|.2f}} [{{results/reader.json:ways.best_prompt.correct.low|.2f}}, {{results/reader.json:ways.best_prompt.correct.high|.2f}}] | none asked for | {{results/reader.json:ways.best_prompt.abstained.value|.2f}} |
# | untouched, 3 passages, worked examples with citations | {{results/reader.json:ways.citing.correct.value|.2f}} [{{results/reader.json:ways.citing.correct.low|.2f}}, {{results/reader.json:ways.citing.correct.high|.2f}}] | {{results/reader.json:ways.citing.cited.value|.2f}} [{{results/reader.json:ways.citing.cited.low|.2f}}, {{results/reader.json:ways.citing.cited.high|.2f}}] | {{results/reader.json:ways.citing.abstained.value|.2f}} |
# | reader, 3 passages | {{results/reader.json:ways.reader.correct.value|.2f}} [{{results/reader.json:ways.reader.correct.low|.2f}}, {{results/reader.json:ways.reader.correct.high|.2f}}] | {{results/reader.json:ways.reader.cited.value|.2f}} [{{results/reader.json:ways.reader.cited.low|.2f}}, {{results/reader.json:ways.reader.cited.high|.2f}}] | {{results/reader.json:ways.reader.abstained.value|.2f}} |
#
# (95% intervals in brackets; {{results/reader.json:n|d}} questions, the last column {{results/reader.json:n_unanswerable|d}} others that no document
# answers.) **R0** still holds: nothing was trained on the documents that are asked about. And it is still far from
# perfect, for two reasons: the passage with the answer is not always among those found (**finding**:
# {{results/reader.json:ways.reader.hit.value|.0%}}), and when it is, the model does not always get the answer out of it (**reading**:
# {{results/reader.json:ways.reader.correct_given_hit.value|.0%}}). Lesson 01 separates the two; the lessons after it improve one, then the
# other. A larger model needs no reader: it is one setting away.
#
# Ask about anything you like: leave, laptops, alarms of a pump, the return of a device. Then ask something that no
# document answers, and look at the sources it shows all the same.

# %% tags=["nbval-ignore-output"]
from workshop_utils.widgets import ask_box

ask_box(reader_rag)

# %% [markdown] tags=["instructor"]
# **Question for the room**: "Would you have noticed the wrong answer if nobody had shown you the handbook?" Let three
# people answer before you go on. **Common error**: learners take the source list as proof that the answer is right. Ask
# for a question where the right passage is shown and the answer is wrong: there are many.
# **When late**: skip the second exercise; the table in section 7 can be read at home.

# %% [markdown]
# ## Exercises
#
# Write your code in place of `raise NotImplementedError`, run the cell, then run the `check` cell. It says what is
# wrong, and hands you the reference until yours passes, so that you are never stuck. `hint(name)` in a new cell opens
# one hint at a time.

# %%
import re

from workshop_utils.exercises import check

# %% [markdown]
# ### Exercise 00.1 · Numbers without evidence
# difficulty ●●○ · importance ●●● · about 6 minutes
#
# In a company's documents, the facts are mostly numbers: days, euros, part numbers, alarm limits. A number in an
# answer that stands in none of the passages was made up. Find such numbers. A number is a run of digits, with decimal
# point or comma inside if there is one: `6`, `2.5`, `1,240`. Beware: the passage `14 days` does not support the answer `4`.


# %% tags=["exercise"]
def unsupported_numbers(answer: str, passages: list[str]) -> list[str]:
    """Numbers that stand in the answer and in none of the passages, in the answer's order, each once."""
    # BEGIN SOLUTION
    number = r"\d+(?:[.,]\d+)*"
    known = set(re.findall(number, " ".join(passages)))
    written = re.findall(number, answer)
    return [found for found in dict.fromkeys(written) if found not in known]
    # END SOLUTION


# %% tags=["check"]
unsupported_numbers = check(unsupported_numbers)

# %% [markdown]
# Use it on the two answers from above. It needs no model and no gold answer, so it can run behind every answer that a
# system gives.

# %% tags=["nbval-ignore-output"]
shown = [source.text for source in answer.sources]
print("from memory:", unsupported_numbers(closed_book, shown))
print("with passages:", unsupported_numbers(answer.text, shown))

# %% [markdown]
# It is a smoke alarm, not a proof. A number that *is* in the passages can still be the wrong one: the answer may name
# the budget where the days were asked for. What would you add next?
#
# ### Exercise 00.2 · A source list that people can use
# difficulty ●○○ · importance ●●● · about 5 minutes
#
# Several passages often come from one document, and a list that names it three times looks careless. Write the list that
# goes under an answer: each document once, best first, as `HR-06 (passages 2, 9): Training budget and certifications`.
# A passage's id is the document's id, `#`, and the passage's number: `HR-06#02`.


# %% tags=["exercise"]
def source_list(passage_ids: list[str], titles: dict[str, str]) -> list[str]:
    """Lines 'ID (passages 2, 9): TITLE', one a document, in the order of its first passage; 'passage' when it is one.

    passage_ids: best first, such as 'HR-06#02'; titles: document id -> title.
    """
    # BEGIN SOLUTION
    numbers: dict[str, list[str]] = {}
    for passage_id in passage_ids:
        document, number = passage_id.split("#")
        numbers.setdefault(document, []).append(str(int(number)))
    return [
        f"{document} ({'passages' if len(found) > 1 else 'passage'} {', '.join(found)}): {titles[document]}"
        for document, found in numbers.items()
    ]
    # END SOLUTION


# %% tags=["check"]
source_list = check(source_list)

# %%
titles = {str(document.id): document.metadata["title"] for document in documents}
for line in source_list([source.passage for source in answer.sources], titles):
    print(line)

# %% [markdown]
# ### Exercise 00.3 · How fast is it? (extra)
# difficulty ●●○ · importance ●○○ · about 6 minutes
#
# A streamed answer has two speeds that people feel: how long until the **first** piece appears, and how fast the rest
# follows. Dividing all pieces by the whole time mixes them up. Given the moment of the request and the moment at which
# each piece arrived, return both.


# %% tags=["exercise", "extra"]
def speeds(asked_at: float, arrivals: list[float]) -> tuple[float, float]:
    """(seconds to the first piece, pieces a second after the first); moments in seconds, at least two arrivals."""
    # BEGIN SOLUTION
    first, last = arrivals[0], arrivals[-1]
    return first - asked_at, (len(arrivals) - 1) / (last - first)
    # END SOLUTION


# %% tags=["check"]
speeds = check(speeds)

# %% tags=["nbval-ignore-output"]
asked_at = time.perf_counter()
arrivals = [time.perf_counter() for _ in llm.stream("Tell me about rivers.")]
first, rate = speeds(asked_at, arrivals)
print(f"first piece after {first:.2f} s, then {rate:.0f} pieces a second")

# %% [markdown]
# ## What you have seen
#
# - A language model answers questions about a company it has never heard of, wrongly and with confidence.
# - With retrieved passages in the prompt it can answer, and you can check it. The model itself was not changed (**R0**).
# - The list of sources is made by code. It says what was shown, not what was used, and not that the answer is right.
# - A small adapter, trained on other organisations' texts, teaches the model to read: more right answers, and citations.
#
# Next: **01_rag_from_scratch** opens the box. Seven stages, each in a few lines of numpy and transformers.
