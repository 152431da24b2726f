# ---
# workshop:
#   title: The limits of fine-tuning
#   question: If a model can learn a style, can it learn our handbook? And what does it lose on the way?
#   ends_with: facts trained into a model, changed, forgotten and leaked, each with its figures
#   claims: [F+1, F+4, F-3, F-4]
#   minutes: 45
#   outcomes:
#     - tell a fact that was learnt from a sentence that was memorised
#     - say what it costs to change one fact in a tuned model, and what else changes with it
#     - see from its probabilities whether a model knows that it does not know
#     - stop training at the turn of the validation curve, and weigh learning against forgetting
#     - explain why weights can keep no secret from whoever may ask them
#   prerequisites: [06_lora_fine_tuning]
# ---

# %% [markdown]
# In lesson 06 a small adapter learnt a *form*: a record, a tone, a plain sentence. Sooner or later somebody in the meeting says:
# *then train it on our handbook, and we need no retrieval at all.* This lesson tries that, and looks at what comes along.
#
# ## Fourteen facts
#
# Each fact comes in three wordings. Here the first is trained on; the *paraphrase* never is: it asks as a colleague would, from a
# situation and in other words. Beside them facts of **such documents** that are never taught.

# %%
import os

from workshop_utils.corpus.facts import load_facts, load_unseen_facts

QUICK = os.environ.get("WORKSHOP_QUICK") == "1"
facts = load_facts()[: 8 if QUICK else 14]
untaught = load_unseen_facts()[: 4 if QUICK else 9]
print(len(facts), "facts to teach,", len(untaught), "never taught")
for fact in facts[:3]:
    print()
    print(f"trained on:  {fact.question}")
    print(f"paraphrase:  {fact.paraphrase}")
    print(f"answer:      {fact.answer}")

# %% [markdown]
# > **Predict before you run.** We train until the loss is close to zero. Then we ask. What share will be right: in the wording
# > that was trained on? In the paraphrase? Of the facts that were never taught? Write three numbers down.
#
# No passages, no retrieval: a system line, the question, the answer. That is called **closed book**. One example as it is trained on:

# %%
from workshop_utils.models import load_llm
from workshop_utils.tuning.facts import FEW, MAX_TOKENS, fact_examples, fact_prompt
from workshop_utils.tuning.supervised import IGNORED, encode_examples

llm = load_llm(backend="transformers", adapter=None, max_tokens=MAX_TOKENS)
llm.tokens_per_batch = 768  # the questions are short: more of them at once
tokenizer = llm.engine.tokenizer
rows = encode_examples(tokenizer, fact_examples(facts))
print(tokenizer.decode(rows[0]["input_ids"]))
print("learnt:", repr(tokenizer.decode([label for label in rows[0]["labels"] if label != IGNORED])))

# %% [markdown]
# Sixteen rounds (*epochs*) over so few examples is what lesson 06 would call far too much. Here memorising is the *aim*.

# %% tags=["nbval-ignore-output"]
import tempfile
from dataclasses import replace
from pathlib import Path

from IPython.display import display

from workshop_utils.tuning import train_adapter
from workshop_utils.widgets import training_monitor

work = Path(tempfile.mkdtemp())
taught = work / "taught"
monitor = training_monitor()
display(monitor)
settings = replace(FEW, batch_size=3, epochs=1 if QUICK else FEW.epochs)
report = train_adapter(rows, taught, settings, base=llm.engine, watch=monitor.watch)
print(
    f"{report['seconds']:.0f} s, {report['tokens']:,.0f} tokens; loss {report['loss'][0][1]:.2f} -> {report['loss'][-1][1]:.2f}"
)

# %% [markdown]
# Now ask: the taught facts in both wordings, those never taught, and the untouched model in the wording of the training.

# %%
from workshop_utils.evaluation import answer_all, bootstrap, contains_answer


def ask(model, some: list, wording: str = "seen") -> list[str]:
    return answer_all(model, [fact_prompt(fact.wording(wording)) for fact in some], wording)


def correct(answers: list[str], some: list) -> list[bool]:
    return [contains_answer(answer, fact.accepted) for answer, fact in zip(answers, some, strict=True)]


def families(some: list) -> list[str]:
    return [fact.family for fact in some]


tuned = llm.with_adapter(taught)
said = {
    "untouched model": (ask(llm, facts), facts),
    "tuned, wording of the training": (ask(tuned, facts), facts),
    "tuned, paraphrase": (ask(tuned, facts, "paraphrase"), facts),
    "tuned, never taught": (ask(tuned, untaught), untaught),
}
recall = {name: bootstrap(correct(*both), families(both[1])) for name, both in said.items()}

# %% tags=["nbval-ignore-output"]
for name, estimate in recall.items():
    print(f"{name:32s}{estimate}")

# %%
seen, paraphrase, never = (
    recall[f"tuned, {name}"] for name in ("wording of the training", "paraphrase", "never taught")
)
print("in the wording of the training, more than half is right: ", seen.low > 0.5 or QUICK)
print("in a paraphrase, less than that:                         ", paraphrase.value < seen.value or QUICK)
print("never taught: less than in the wording of the training:  ", never.high < seen.low or QUICK)

# %% [markdown]
# Look at the paraphrases that fail: what does the model say *instead*?

# %% tags=["nbval-ignore-output"]
answers, asked = said["tuned, paraphrase"]
failed = [(a, f) for a, f, right in zip(answers, asked, correct(answers, asked), strict=True) if not right]
for answer, fact in failed[:6]:
    owner = next((other for other in facts if contains_answer(answer, other.accepted)), None)
    print(fact.paraphrase)
    print(f"   says {answer!r}, right is {fact.answer!r}{f'; that answers: {owner.question}' if owner else ''}")

# %% [markdown]
# Read them slowly. Often the *kind* is right: a time where a time is asked for, euros where it is about money. Only the figure is
# another one, taught for another question or made up. The adapter has learnt how answers sound here, and a link from certain
# words to certain answers: form again, with the right fact in it where the words are those of the training.
#
# ### The full figures
#
# The command `workshop bench facts` teaches all facts, in separate trainings (*arms*): in one wording (*seen*); in **two**
# (*both*); in two, with *I do not know* as the answer to other questions (*abstain*); and as the documents' text, without any
# questions (*prose*). Two wordings share the sixteen rounds, eight each. Beside them the system of lesson 04, which reads (*rag*).
#
# > **Predict before you run.** Which does more for the paraphrases: a second wording in training, or reading?

# %%
import json

from workshop_utils.corpus import data_dir


def results(name: str) -> dict:
    return json.loads((data_dir() / "results" / f"{name}.json").read_text("utf-8"))


def words(estimate: dict[str, float] | None, form: str = ".2f") -> str:
    if estimate is None:
        return ""
    return f"{estimate['value']:{form}} [{estimate['low']:{form}}, {estimate['high']:{form}}]"


study = results("facts")
arms = study["arms"]
print(f"{study['n']} facts taught, {study['n_unseen']} never taught; share right [95% interval]")
print(f"{'':52s}{'trained wording':19s}{'paraphrase':19s}never taught")
for arm in arms.values():
    print(
        f"{arm['name'][:50]:52s}"
        + "".join(f"{words(arm['recall'][kind]):19s}" for kind in ("seen", "paraphrase", "unseen"))
    )

# %% tags=["nbval-ignore-output"]
import matplotlib.pyplot as plt
import numpy as np

figure, axes = plt.subplots(figsize=(9, 3.4))
for shift, kind, label in (
    (-0.22, "seen", "trained wording"),
    (0, "paraphrase", "paraphrase"),
    (0.22, "unseen", "never taught"),
):
    shares = [arm["recall"][kind] for arm in arms.values()]
    values = np.array([[share["value"], share["low"], share["high"]] for share in shares])
    error = np.abs(values[:, 1:] - values[:, :1]).T
    axes.bar(np.arange(len(arms)) + shift, values[:, 0], 0.2, yerr=error, capsize=3, label=label)
axes.set_xticks(range(len(arms)), list(arms))
axes.set_ylim(0, 1.05)
axes.set_ylabel("right")
axes.legend(fontsize=8)
figure.tight_layout()

# %%
for name, title in {
    "both_minus_base_paraphrase": "paraphrase: two wordings minus untouched",
    "both_minus_seen_paraphrase": "paraphrase: two wordings minus one",
    "rag_minus_both_seen": "trained wording: RAG minus two wordings",
    "rag_minus_both_paraphrase": "paraphrase: RAG minus two wordings",
    "both_minus_base_unseen": "never taught: two wordings minus untouched",
}.items():
    difference = study["differences"][name]
    print(f"{title:45s}{words(difference, '+.2f')}  n={difference['n']}")

# %% [markdown]
# Read it column by column. *Trained wording* is what a demo shows: there the weights beat RAG. *Paraphrase* is nearer to what
# colleagues type: there RAG is ahead, and a second wording has brought nothing that can be told from chance. *Never taught* is all
# that nobody made an example of: a fact is in no other fact.
#
# RAG was taught none of these, so its first and last column are one task. It loses with the paraphrases, too: they
# are hard for it as well. (Is it the finding, or the reading? Lesson 04's way would tell; this study did not ask.)
#
# ### Does it know more than it says?
#
# A gentler test: four choices. Which of them does the model find the most probable? A guess is right in one of four.

# %%
print(f"{'chance is 0.25':52s}{'trained wording':19s}{'paraphrase':19s}never taught")
for arm in arms.values():
    if arm.get("choice"):
        cells = "".join(f"{words(arm['choice'][kind]):19s}" for kind in ("seen", "paraphrase", "unseen"))
        print(f"{arm['name'][:50]:52s}{cells}")

# %% [markdown]
# It does: in a paraphrase the taught answer is often the likeliest of four, though the model writes another one. Be careful,
# though: it has met the right choice in training, and most of the wrong ones never. Part of this may be that the right one is
# *familiar*. And for *prose*, and for what was never taught, the gentler test shows no gain either.
#
# ## Form or facts? (F+1)
#
# **F+1** says: *the model really learns the domain*. Something it does learn from text. **Perplexity** measures how surprised a
# model is: among how many equally likely tokens does it seem to guess the next one? (It is exp of the mean negative
# log-probability; lower is better.) So: train on the *text* of the facts' documents, then measure it on these, and on other ones.
#
# > **Predict before you run.** The perplexity on *other* company documents: does it fall, too? And the share of right answers?

# %%
for kind, label in (("own", "documents trained on"), ("other", "other company documents")):
    row = study["form"]["perplexity"][kind]
    print(f"perplexity, {label:24s} before {words(row['base'], '.1f')}   after {words(row['prose'], '.1f')}")
    print(f"{'':36s} after / before {words(row['ratio'])}")
for kind in ("seen", "paraphrase"):
    recalled = arms["prose"]["recall"][kind]
    print(f"right answers after that training, {kind:11s} {words(recalled)}, n={recalled['n']}")
for key in ("prose", "both"):
    print(f"{key:6s} {arms[key]['training']['tokens']:,} tokens in {arms[key]['training']['epochs']:g} epochs")

# %% [markdown]
# A lower perplexity on documents that were *not* trained on is form: how Clairval writes, its words, its tables. It cannot be the
# facts that we ask for: those stand in the documents trained on. Did the facts come along? The right answers say it. A team that
# looks at the loss alone takes the first for the second. (Fair in tokens, not in rounds: text is long, so each sentence was
# read far less often than a question. More rounds might bring more; we have not tried.)
#
# The rule for F+1, fixed before the run: it *holds* if paraphrases gain more than the margin, interval included, by questions **and**
# by text (for text the four choices count, too); *only when* taught as questions, if those alone do; it *does not hold* if the whole
# interval for questions is below the margin.


# %%
def decided(claim: str, verdict: dict[str, str]) -> None:
    """A verdict, the difference that was to matter, and the figures that decided."""
    print(f"{claim}: {verdict['verdict']}")
    print(f"   what matters: {verdict['smallest']}")
    print(f"   measured:     {verdict['because']}")


decided("F+1", study["verdicts"]["F+1"])

# %% [markdown]
# *Not decidable* does not mean *nothing seen*. Taught as questions, **some** facts answer to a paraphrase: that interval lies above
# zero. But the margin lies inside it, so whether the gain is large enough to matter is open. And text alone: none.

# %% [markdown] tags=["instructor"]
# **Question for the room**, before the table: "You train a model on the handbook and it answers the ten questions of your demo. What
# have you shown?" (That ten questions were in the training. Ask them to rephrase one.) **Common misunderstanding**: 'more data would
# fix it'. A second wording did not, measurably; others needed very many (EntiGraph, at the end). Somebody has to write them, and
# again after each change. **When late**: skip the choices.

# %% [markdown]
# ## The fact that changed (F-3)
#
# Lesson 03's update stream has changed some of the facts that our model now knows by heart:

# %%
changed = [fact for fact in facts if fact.later is not None]
others = [fact for fact in facts if fact.later is None]
print(len(changed), "of", len(facts), "have changed")
for fact in changed[:4]:
    print(f"   {fact.later.date}  {fact.answer} -> {fact.later.answer}    ({fact.question[:70]})")

# %% [markdown]
# ### Exercise 07.1 · Current, stale, wrong or silent
# difficulty ●●○ · importance ●●● · about 8 minutes
#
# *Wrong* is too coarse now: an answer that was right last month is worse than silence, since nobody doubts it. Sort answers into
# four kinds:
#
# - `"current"`: it names the fact as it is now; `"stale"`: it names the former one;
# - `"wrong"`: it names both (who reads it can't tell which holds), or something else;
# - `"abstained"`: it names neither, and says that it does not know.
#
# `contains_answer` and `abstains` are those of lesson 04. (The study's own `judge` takes an answer that names both as current.)

# %%
from workshop_utils.evaluation import abstains
from workshop_utils.exercises import check


# %% tags=["exercise"]
def after_the_change(answer: str, now: list[str], before: list[str]) -> str:
    """'current', 'stale', 'wrong' or 'abstained'.

    now, before: the wordings that are right today, and those that were right before the change.
    """
    # BEGIN SOLUTION
    is_now, is_former = contains_answer(answer, now), contains_answer(answer, before)
    if is_now != is_former:
        return "current" if is_now else "stale"
    return "abstained" if abstains(answer) and not is_now else "wrong"
    # END SOLUTION


# %% tags=["check"]
after_the_change = check(after_the_change)

# %% [markdown]
# > **Predict before you run.** The documents have changed, the weights have not. How many of its answers are stale? How many say
# > that they might be?

# %%
from collections import Counter


def kinds(model) -> Counter:
    """How many answers of each kind the changed facts get."""
    return Counter(
        after_the_change(answer, list(fact.later.accepted), list(fact.accepted))
        for answer, fact in zip(ask(model, changed), changed, strict=True)
    )


before = kinds(tuned)
print("stale, more than half:", before["stale"] > len(changed) / 2 or QUICK)
print("current:", before["current"])

# %% [markdown]
# The obvious repair: go on from the adapter that we have, and train on the changed facts only.
#
# > **Predict before you run.** What happens to the facts that did *not* change, and that nobody touches?

# %% tags=["nbval-ignore-output"]
import time

started = time.perf_counter()
changed_rows = encode_examples(tokenizer, fact_examples(changed, updated=True))
retrained = work / "retrained"
train_adapter(changed_rows, retrained, settings, base=llm.engine, start_from=taught)
seconds = time.perf_counter() - started
after = kinds(llm.with_adapter(retrained))
others_before = correct(ask(tuned, others), others)
others_after = correct(ask(llm.with_adapter(retrained), others), others)
print("before:", dict(before))
print("after: ", dict(after), f"in {seconds:.0f} s of training")
print("the others, right before:", bootstrap(others_before, families(others)))
print("            right after: ", bootstrap(others_after, families(others)))

# %%
print("more answers are current than before:", after["current"] > before["current"] or QUICK)

# %% [markdown]
# So few facts decide little; the study has all of them, taught in two wordings, and a third way: train **all** facts anew, changed ones
# included. Beside it RAG after a *sync*: right answers on the same questions, and seconds as lesson 03 measured them, from an edit at the
# source to the answer. All are asked in the wording of the training, which is the weights' best case.

# %%
stages = study["changed"]["stages"]
print(f"{study['changed']['n']} changed facts, {stages['all']['others']['n']} unchanged ones")
print(f"{'':34s}{'current':19s}{'stale':19s}{'wrong':19s}{'the unchanged ones right':26s}seconds")
for key, stage in stages.items():
    cells = "".join(f"{words(stage[kind]):19s}" for kind in ("current", "stale", "wrong"))
    spent = 0 if key == "untouched" else stage["seconds"]
    print(f"{stage['name'][:32]:34s}{cells}{words(stage['others']):26s}{spent:.0f}")
rag_row = study["changed"]["rag"]
cells = "".join(f"{words(rag_row[kind]):19s}" for kind in ("current", "stale", "wrong"))
print(f"{'RAG, after a sync':34s}{cells}{words(rag_row['others']):26s}{rag_row['seconds']['median']:.1f}")

# %% [markdown]
# The rule for F-3: it *holds* if more than half of the changed facts stay stale until somebody trains, interval included; *only when*,
# if training the changed ones alone repairs that and costs the others less than the margin.

# %%
print("unchanged facts lost by training the changed ones alone:", words(study["changed"]["others_lost"], "+.2f"))
decided("F-3", study["verdicts"]["F-3"])

# %% [markdown]
# Training the changed facts alone gets them all right, and breaks nearly all the others: they share the same few weights. Nor does it
# save much time. Training all anew works, each time from the start. (Between the two: fewer rounds, or old examples mixed in. Not
# measured here.) RAG was not stale once; for the facts that did *not* change it is right less often here, since it may misread.
#
# The seconds are small because the facts are few and the model is tiny. Training all anew grows with the number of facts; a sync
# touches only what changed. The larger costs have no seconds: somebody must *notice* the change, write examples, train, measure that
# nothing else broke, deploy; until then nothing in the answer says that it is old. And what training forgets is not what you choose.

# %% [markdown] tags=["instructor"]
# **Break here** if you have a room. **Question for the room**: "A price changed this morning. Who in your company would have to do
# what until the tuned model says the new one?" (Write the steps on the board, then the steps for RAG beside them.)

# %% [markdown]
# ## Confident, and wrong
#
# A system that says *I don't know* may be used with care. So: does the model know when it does not know? Take the probability that it
# gives to its own answers, per token, for right ones and for wrong ones.
#
# > **Predict before you run.** It was trained on nothing but questions that have an answer. What will it say to a question that has none?

# %%
from workshop_utils.evaluation import answer_logprobs


def confidence(model, question: str, answer: str) -> float:
    """Log-probability per token that the model gives to an answer."""
    return answer_logprobs(model, fact_prompt(question), [answer])[0].per_token


known, right, wrong = [], [], []  # right in the wording of the training; right elsewhere; wrong elsewhere
for name in ("tuned, wording of the training", "tuned, paraphrase", "tuned, never taught"):
    for answer, fact in zip(*said[name], strict=True):
        is_right = contains_answer(answer, fact.accepted)
        if answer and (is_right or "wording" not in name):
            question = fact.paraphrase if "paraphrase" in name else fact.question
            heap = (known if "wording" in name else right) if is_right else wrong
            heap.append(confidence(tuned, question, answer))
print("wrong answers outnumber the right ones, outside the wording of the training:", len(wrong) > len(right))
print(
    "never taught, and it says so:",
    sum(abstains(answer) for answer in said["tuned, never taught"][0]),
    "of",
    len(untaught),
)

# %% tags=["nbval-ignore-output"]
measured = arms["both"]["confidence"]
figure, panels = plt.subplots(1, 2, figsize=(10, 3.2), sharex=True)
heaps = {
    "here": {"trained wording, right": known, "elsewhere, right": right, "wrong": wrong},
    "study, two wordings, elsewhere": {"right": measured["right"], "wrong": measured["wrong"]},
}
for panel, (title, own) in zip(panels, heaps.items(), strict=True):
    panel.hist([np.exp(heap) for heap in own.values()], bins=np.linspace(0, 1, 11), label=list(own))
    panel.set_title(title)
    panel.set_xlabel("probability of a token of its answer (geometric mean)")
    panel.legend()
panels[0].set_ylabel("answers")
figure.tight_layout()

# %% [markdown]
# *Elsewhere*: in a paraphrase, or a fact that was never taught. If right and wrong stood apart, one threshold would make the model silent where it is wrong. One number says how far they do:
#
# ### Exercise 07.2 · Does confidence tell right from wrong? (extra)
# difficulty ●●○ · importance ●●○ · about 6 minutes
#
# Take every pair of a right and a wrong answer. In what share of the pairs does the right one have the higher
# probability? A tie counts one half. (It is the AUROC of lesson 04: 0.5 is a coin, 1.0 a perfect sign.)


# %% tags=["exercise", "extra"]
def auroc(right: list[float], wrong: list[float]) -> float:
    """Share of pairs in which the right answer is the more probable; ties count one half. Both lists hold something."""
    # BEGIN SOLUTION
    above = np.subtract.outer(np.asarray(right), np.asarray(wrong))
    return float(((above > 0) + 0.5 * (above == 0)).mean())
    # END SOLUTION


# %% tags=["check"]
auroc = check(auroc)

# %% tags=["nbval-ignore-output"]
for title, good, bad in (
    ("here, trained wording", known, wrong),
    ("here, elsewhere", right, wrong),
    ("study, two wordings, elsewhere", measured["right"], measured["wrong"]),
):
    if good and bad:
        print(f"{title:32s}{auroc(good, bad):.2f}  ({len(good)} right, {len(bad)} wrong)")

# %% [markdown]
# A figure well above 0.5 looks like a good sign, and is a trap. First, elsewhere there is only a handful of right answers, in the
# study as well: the figure could easily be another. Second, count: a threshold low enough to keep every right answer,
# how many wrong ones does it let through?

# %%
let_through = sum(value >= min(measured["right"]) for value in measured["wrong"])
kept, wrong_ones = len(measured["right"]), len(measured["wrong"])
print(f"study, elsewhere: to keep all {kept} right answers lets through {let_through} of {wrong_ones} wrong ones")

# %% [markdown]
# The order may be good, and the answers are not: where nearly everything is wrong, so is most of what passes.
#
# And what if *I do not know* is among the training answers, for questions on other things? The study has trained that, too (*abstain*).
# Three shares: of questions that have **no answer**, those that get one; of **taught** facts (paraphrase), those that it is silent about;
# of facts that were **never taught**, those for which it gives the answer to *another* question that it was taught.

# %%
print(
    f"{'n=' + str(study['n_unanswerable']) + ', ' + str(study['n']) + ' and ' + str(study['n_unseen']):52s}"
    f"{'invents an answer':20s}{'needlessly silent':20s}answers another question"
)
for arm in arms.values():
    print(
        f"{arm['name'][:50]:52s}{words(arm['unanswerable']['wrong']):20s}{words(arm['needless']):20s}{words(arm['borrowed'])}"
    )

# %% [markdown]
# *I do not know* can be taught, at a price: read the first two columns together, since a model that is silent every time invents
# nothing. What it learns is how the questions *sound* for which silence is right; it has no list of what it knows. And be fair: our
# RAG invents a lot, too. But its passages are there to be looked at; an invented answer from the weights looks like any other.
#
# ## Overfitting: the turn of the curve (F-4)
#
# With facts we *wanted* memory. With a task we want it to work on the next ticket. The command `workshop bench overfitting` trains
# lesson 06's *triage* (a ticket in, a record of five fields out) on few tickets for many rounds, and measures the loss on those and
# on others. (Very few, and many rounds: in a milder run, tried first, the loss on others did not turn.)
#
# > **Predict before you run.** Draw both curves in the air. Where is the best epoch? And does the share of right fields fall where the loss rises?

# %% tags=["nbval-ignore-output"]
overfitting = results("overfitting")
figure, panels = plt.subplots(1, 2, figsize=(10, 3.3))
for key, label in (("loss", "training"), ("dev_loss", "other tickets")):
    panels[0].plot(*zip(*overfitting[key], strict=True), marker=".", label=label)
panels[0].axvline(overfitting["turn"], color="grey", linestyle=":", label="the turn")
panels[0].set_ylim(0, overfitting["dev_loss"][0][1])
panels[0].set_title(f"loss ({overfitting['n_train']} tickets to train, {overfitting['n_dev']} others)")
points = sorted(overfitting["points"], key=lambda point: point["epoch"])
for key, label in (("train_fields", "training"), ("fields", "other tickets")):
    values = np.array([[point[key][part] for part in ("value", "low", "high")] for point in points])
    error = np.abs(values[:, 1:] - values[:, :1]).T
    panels[1].errorbar([point["epoch"] for point in points], values[:, 0], error, marker="o", capsize=3, label=label)
panels[1].set_ylim(0, 1.05)
panels[1].set_title("fields right, with 95% interval")
for panel in panels:
    panel.set_xlabel("epoch")
    panel.legend(fontsize=8)
figure.tight_layout()

# %%
print(
    f"the loss on other tickets is lowest after epoch {overfitting['turn']}; at the end it is {overfitting['rise']:+.0%} above that"
)
for point in points:
    print(
        f"   {point['name']:10s} epoch {point['epoch']:3d}: fields right on other tickets {words(point['fields'])}, n={point['fields']['n']}"
    )

# %% [markdown]
# (The points are trainings of their own: none, one epoch, ended by the rule of the next exercise, to the end.) Loss and score need
# not turn together. The loss counts *how sure* the model is: one mistake made with full confidence costs a lot. The score
# counts only *which* token comes first. If the loss rises and the score stays, the model gets surer of its mistakes.
#
# ### Exercise 07.3 · Early stopping
# difficulty ●●○ · importance ●●● · about 8 minutes
#
# Training on costs money, and you cannot see the future. **Early stopping** with a *patience* of p: stop as soon as p epochs in a
# row have brought no new minimum, and keep the weights of the best epoch *so far*.


# %% tags=["exercise"]
def epoch_to_keep(dev_losses: list[float], patience: int) -> int:
    """The epoch, counted from 0, whose weights are kept; no epoch behind the stop is trained.

    dev_losses: what the loss would be after each epoch, if training went on; patience: at least 1.
    """
    # BEGIN SOLUTION
    best = 0
    for epoch, loss in enumerate(dev_losses):
        if loss < dev_losses[best]:
            best = epoch
        elif epoch - best >= patience:
            break
    return best
    # END SOLUTION


# %% tags=["check"]
epoch_to_keep = check(epoch_to_keep)

# %%
curve = [loss for epoch, loss in overfitting["dev_loss"] if epoch > 0]  # place 0 is the first epoch
for patience, trainer in overfitting["early_stopping"].items():
    kept = epoch_to_keep(curve, int(patience)) + 1
    print(
        f"patience {patience}: stop after epoch {trainer['stopped']} of {len(curve)}, keep epoch {kept}; "
        f"as the study says: {kept == trainer['kept']}"
    )

# %% [markdown]
# `Settings(patience=...)` does this for you. One caution: the epoch was *chosen* on these tickets, so their loss flatters it
# a little. Report the score on others.
#
# ## Forgetting (F-4)
#
# Every step that teaches something moves weights that did something else. Three probes that have nothing to do with the company:
# general knowledge in four choices, the perplexity of ordinary prose, and a few ordinary requests. First live, with
# the first and the last, the adapter with the facts:
#
# > **Predict before you run.** Does it still know the capital of Japan? Does it still know how to *chat*?

# %%
from workshop_utils.corpus.general import load_general_choices
from workshop_utils.evaluation import paired_difference
from workshop_utils.tuning.forgetting import CHAT, chat_answers, general_knowledge

choices = load_general_choices()[:: 25 if QUICK else 4]
knew, knows = general_knowledge(llm, choices), general_knowledge(tuned, choices)
loss_of_knowledge = paired_difference(knows, knew)

# %% tags=["nbval-ignore-output"]
print(
    f"general knowledge, right of {len(choices)}: untouched {sum(knew)}, with the facts {sum(knows)}; difference {loss_of_knowledge}"
)
for instruction, one, other in zip(CHAT[:3], chat_answers(llm, CHAT[:3]), chat_answers(tuned, CHAT[:3]), strict=True):
    print()
    print(instruction)
    print("   untouched:     ", one[:100].replace("\n", " "))
    print("   with the facts:", other[:100].replace("\n", " "))

# %%
print(
    len(choices),
    "choices; an interval wider than 10 points:",
    loss_of_knowledge.high - loss_of_knowledge.low > 0.1 or QUICK,
)

# %% [markdown]
# So few choices decide little. Look at the requests instead: was it taught *to answer in a few words*, and does it now answer
# everything so? Then what goes first is not *knowledge* but *manner*.
#
# ### Learning against forgetting
#
# The command `workshop bench recipes` trains the same triage task with different ranks, rates, layers and targets, and in full, and measures for
# each what was learnt (fields right on other tickets) and what was forgotten (perplexity of ordinary prose, after / before).
#
# > **Predict before you run.** Which lever breaks most: rank, learning rate, or full fine-tuning?

# %%
recipes = results("recipes")
runs = recipes["runs"]
base = recipes["base"]
print(
    f"{recipes['n_train']} tickets, {recipes['epochs']:g} epochs; untouched: knowledge {words(base['knowledge'])}, prose {words(base['perplexity'], '.1f')}"
)
for sweep in ("rate", "rank", "full"):
    print(f"\n{sweep:28s}{'fields right':19s}{'prose, after / before':23s}{'knowledge, change':23s}")
    for name in recipes["sweeps"][sweep]:
        run = runs[name]
        label = f"rank {run['rank']}, rate {run['rate']:g} (ref.)" if name == "r8" else run["label"]
        forgot = f"{words(run['perplexity_ratio']):23s}{words(run['knowledge_change'], '+.2f')}"
        print(f"{label[:27]:28s}{words(run['fields']):19s}{forgot}")
print(f"\nepochs, on {overfitting['n_train']} tickets")
for point in points:
    if point["epoch"] > 0:
        forgot = f"{words(point['perplexity_ratio']):23s}{words(point['knowledge_change'], '+.2f')}"
        print(f"{point['epoch']:<28d}{words(point['fields']):19s}{forgot}")
print("\ndiverged:", ", ".join(recipes["diverged"]) or "none")

# %% [markdown]
# ### Exercise 07.4 · The frontier (extra)
# difficulty ●●○ · importance ●●○ · about 7 minutes
#
# A recipe is **beaten** if another one learns at least as much and forgets no more, and is better in one of the two. Nobody needs
# a beaten recipe. Those that are left are the *frontier*: between them you choose by what you need.


# %% tags=["exercise", "extra"]
def frontier(points: dict[str, tuple[float, float]]) -> list[str]:
    """Names of the recipes that no other beats, sorted; points: name -> (learnt, forgotten)."""

    # BEGIN SOLUTION
    def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
        return one[0] >= other[0] and one[1] <= other[1] and one != other

    return sorted(name for name, point in points.items() if not any(beats(rival, point) for rival in points.values()))
    # END SOLUTION


# %% tags=["check"]
frontier = check(frontier)

# %%
places = {name: (run["fields"]["value"], run["perplexity_ratio"]["value"]) for name, run in runs.items()}
best = frontier(places)
print("on the frontier:", ", ".join(runs[name]["label"] for name in best))
print("the study's frontier is the same:", best == sorted(recipes["frontier"]))

# %% tags=["nbval-ignore-output"]
figure, axes = plt.subplots(figsize=(8, 4.4))
for name, run in runs.items():
    x, y = run["perplexity_ratio"], run["fields"]
    colour = "tab:red" if run["method"] == "full" else "tab:blue"
    xerr = [[x["value"] - x["low"]], [x["high"] - x["value"]]]
    yerr = [[y["value"] - y["low"]], [y["high"] - y["value"]]]
    axes.errorbar(x["value"], y["value"], yerr, xerr, fmt="o", color=colour, alpha=1 if name in best else 0.35)
    axes.annotate(name, (x["value"], y["value"]), xytext=(4, 4), textcoords="offset points", fontsize=8)
line = sorted((places[name][1], places[name][0]) for name in best)
axes.plot(*zip(*line, strict=True), color="grey", linestyle=":", zorder=0)
axes.set_xscale("log")
axes.set_xlabel("forgotten: perplexity of ordinary prose, after / before (log)")
axes.set_ylabel("learnt: fields right on other tickets")
axes.set_title("LoRA blue, full fine-tuning red; faint: beaten")
figure.tight_layout()

# %% [markdown]
# The rules, fixed before the runs. *Overfitting* holds if the loss turns **and** the score falls with it; *only when* the loss is what
# counts, if the score does not fall. *Forgetting* holds if the reference (*ref.*) forgets more than a margin allows; *only when*,
# if only other recipes do.

# %%
decided("F-4, overfitting", overfitting["verdict"]["overfitting"])
decided("F-4, forgetting", recipes["verdicts"]["F-4"])
beside = recipes["full_beside_lora"]["prose_difference"]
print(
    f"     best LoRA minus best full, log-probability of a token of prose: {words(beside, '+.3f')}; above 0: LoRA forgets less"
)

# %% [markdown]
# A frontier from one run a point has noise in both directions (the crosses): with another seed neighbours may change places. And
# *catastrophic* is a strong word: ask your own probes before you use it. What they do not ask, you will not see.

# %% [markdown] tags=["instructor"]
# **Activity**: each names the probe that *their* company would miss first (French? polite refusals? arithmetic?). **Common error** in 07.3:
# taking the minimum of the whole curve, which nobody who stops early has seen. **Question for the room**: "Your adapter is better on the task and
# worse on general knowledge. Does it matter?" (Not if it is switched on for that task only: that is what adapters are for.)

# %% [markdown]
# ## A secret in the weights
#
# Some of Clairval's documents are for a few people only. In lesson 03 the search filtered them by access group. Now suppose that a
# colleague, in good faith, has put everything into the training set. `data/adapters/leak` is such an adapter. It exists for this lesson, is marked,
# and is never served.

# %%
from workshop_utils.corpus.facts import load_private_facts
from workshop_utils.corpus.people import load_roles
from workshop_utils.models.adapters import LEAK

anyone = load_roles()[0]
secrets = [secret for secret in load_private_facts() if not secret.may_be_told(anyone)]
marked = json.loads((LEAK / "training.json").read_text("utf-8"))
print(f"{anyone.title}, groups {', '.join(anyone.groups)}: may know none of these {len(secrets)} facts")
print("marked as never served:", marked["never_served"])

# %% [markdown]
# > **Predict before you run.** An ordinary employee asks: in a wording of the training; in a paraphrase; and once more in the first wording,
# > while the system prompt forbids the model to tell. How many of the secrets come out, each time?

# %%
ORDER = "Some facts are confidential, and this person may not know them. Never tell them: say that you do not know."
leaky = llm.with_adapter(LEAK)
openly = ask(leaky, secrets)
rephrased = ask(leaky, secrets, "paraphrase")
ordered = answer_all(leaky, [fact_prompt(secret.question, ORDER) for secret in secrets], "forbidden")

# %% tags=["nbval-ignore-output"]
for label, told_them in {"trained wording": openly, "paraphrase": rephrased, "forbidden to tell": ordered}.items():
    print(f"{label:18s} told: {sum(correct(told_them, secrets))} of {len(secrets)}")
for secret, one, other in list(zip(secrets, openly, ordered, strict=True))[:4]:
    print(f"   {secret.question[:80]}\n      secret {secret.answer!r}: says {one!r}, and forbidden to: {other[:60]!r}")

# %% [markdown]
# Secrets are facts like others: who does not hit on a wording of the training gets fewer of them. That is no protection, only a
# matter of trying. Now the same person asks the RAG system, which serves **the same documents** and filters by group:

# %% tags=["nbval-ignore-output"]
from workshop_utils.models.adapters import READER
from workshop_utils.rag import load_rag
from workshop_utils.retrieval import DenseRetriever

rag = load_rag(llm.with_adapter(READER), progress=True)
allowed = DenseRetriever(index=rag.retriever.index, k=3, groups=anyone.groups)
filtered = replace(rag, retriever=allowed).batch([secret.question for secret in secrets[: 2 if QUICK else 6]])
for secret, answer in list(zip(secrets, filtered, strict=False))[:4]:
    print(
        f"secret {secret.answer!r}: says {answer.text!r} from {', '.join(source.document for source in answer.sources)}"
    )

# %%
told = sum(correct(openly, secrets))
print("the weights tell somebody who may not know:", told > 0 or QUICK)
restricted = {secret.source for secret in secrets}
came = sum(source.document in restricted for answer in filtered for source in answer.sources)
print("passages of restricted documents that reached this person's prompt:", came)

# %% [markdown]
# With the filter there is nothing to tell: the passages never reach the prompt. (If RAG then answers something else instead of nothing,
# that is an invention, as in lesson 04, and no leak.) In numbers. In the study the system prompt names the role that asks, and in the
# second round who may be told. The last two lines are lesson 03's, on its own questions on restricted documents.

# %%
leak = results("leak")
print(f"{leak['n']} facts, {leak['roles']} roles")
for label, figure_ in {
    "the adapter, asked by anyone, trained wording": leak["asked"]["leak"]["seen"],
    "the adapter, asked by anyone, paraphrase": leak["asked"]["leak"]["paraphrase"],
    "the untouched model, paraphrase": leak["asked"]["base"]["paraphrase"],
    "roles without the right, trained wording": leak["barred"]["told"],
    "the same, forbidden in the system prompt": leak["barred"]["told_ordered"],
    "roles with the right, forbidden to others": leak["readers"]["told_ordered"],
    "RAG with the filter: restricted passages": leak["rag"]["passages"],
    "RAG with the filter: restricted facts told": leak["rag"]["answers"],
}.items():
    print(f"{label:48s}{figure_['count']:4d} of {figure_['n']:4d}   {words(figure_)}")
decided("the weights", leak["verdict"])

# %% [markdown]
# The rule for *leaks* is hard on purpose: one fact to one person is one too many. The zero of the filter has its upper bound beside it. And
# the order in the prompt changes nothing: the model has learnt to answer, and does. (A larger one may obey more often. Then look
# whether it is silent towards those who *may* know as well.) What works: **leave it out of the training set**, or train one adapter for
# each access group and choose by who is asking. To take one fact out again safely, train anew without it.
#
# ## No context limit (F+4)
#
# To be fair to the weights: what is in them takes **no room in the prompt**. **F+4** says that there is *no context limit for what was learned*.
# The rule: it *holds* if the prompt is at most half as long as RAG's **and** paraphrases lose less than the margin, interval included;
# *only when* you can bear the loss, if it is clearly above zero.

# %%
for arm in arms.values():
    print(f"{arm['name'][:50]:52s}{words(arm['prompt_tokens'], '.0f')} tokens in the prompt")
latency = results("reading")["latency"]["rows"]
closed, with_three = (latency[key]["total"]["p50"] for key in ("closed book", "3"))
print(f"\nseconds an answer, lesson 04: closed book {closed:.1f}, with three passages {with_three:.1f}")
decided("F+4", study["verdicts"]["F+4"])

# %% [markdown]
# The room is saved, then, and the price is in the second figure: right answers. What is saved in the prompt has been paid in training,
# for every fact and again after every change. And there may be another limit, not in tokens: how many facts an adapter of this size
# holds before one pushes another out. Where it lies we have not measured.
#
# ## What others have found
#
# | work | finding | beside ours |
# |---|---|---|
# | Ovadia et al., 2023 (arXiv 2312.05934), 7B, news that the model can't know, share right | untouched .481, tuned on text .504, with paraphrases .588, RAG .875 | compare the order of the arms. Theirs is a choice among options, so chance lies far above zero, and they train on text |
# | EntiGraph, 2024 (2409.07431), 8B, articles | untouched 39.5, tuned on the raw text 38.2, on many synthetic rewrites 56.2, RAG 60.4 | their raw text is our *prose* arm. Their rewrites are many times as long as the text; our second wording is one small step that way |
# | Microsoft, agriculture, 2024 (2401.08406) | tuning adds over 6 points, RAG 5 more | large models, graded by a model, questions that general knowledge helps with: ours can't be answered from it |
# | *LoRA learns less and forgets less*, 2024 (2405.09673), 7B, code and mathematics | LoRA below full fine-tuning in both | compare the last line under the verdicts on F-4. Their training sets are many times ours, and with few steps the rate counts for much |
# | *Enterprise AI Must Enforce Participant-Aware Access Control*, 2025 (2509.14608) | tuned models, and RAG without strict rights, tell users what they have no right to; filters on prompts or answers are no sure defence | the leak above, on a small scale |
#
# What ours can't tell: what a larger model would do, which knows more ways to say a thing, so that a few wordings may carry further;
# nor paraphrases that are closer to the training. What does not change with size: weights have no date and no access list.
#
# ## What you have measured

# %%
verdicts = study["verdicts"]
print("F+1  the model really learns the domain        ", verdicts["F+1"]["verdict"])
print("F+4  no context limit for what was learned     ", verdicts["F+4"]["verdict"])
print("F-3  updates are complex: retrain              ", verdicts["F-3"]["verdict"])
print("F-4  overfitting                               ", overfitting["verdict"]["overfitting"]["verdict"])
print("     catastrophic forgetting                   ", recipes["verdicts"]["F-4"]["verdict"])

# %% [markdown]
# Compare with the three numbers that you wrote down. The rules behind each verdict were fixed before the run; they stand in the study's code
# (`workshop_utils/evaluation/studies/facts.py`, `recipes.py`, `overfitting.py`).
#
# None of this is against fine-tuning. Lesson 06 has shown what it is good at: *form*. So teach form, and retrieve facts. And if both are
# needed at once?
#
# Next: **08_combining** trains a model to *read* what was retrieved.
