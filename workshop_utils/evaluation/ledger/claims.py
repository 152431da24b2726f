"""The claims that the workshop tests, each with the experiment that decides it and where a lesson shows its figure."""

from __future__ import annotations

from dataclasses import dataclass

from workshop_utils.evaluation.compare import verdicts_table


@dataclass(frozen=True)
class Claim:
    """What is usually said, in our words.

    Attributes:
        lesson: number of the lesson that shows the figure.
        cell: the heading under which it does; empty as long as that lesson is not written.
    """

    id: str
    text: str
    experiment: str
    lesson: str
    cell: str = ""


def _usual(row: str) -> str:
    """A row of the comparison table as it is usually filled in."""
    what, usual = verdicts_table.ROWS[row]
    return f"{what}: {', '.join(f'{option} ({verdict})' for option, verdict in usual.items())}"


CLAIMS = (
    Claim(
        "R0",
        "With RAG the model stays as it is: documents found for a question are put into its prompt, in seven stages.",
        "Each stage is a cell with its output, and the weights are hashed before and after all answers.",
        "01",
        "Then why not give it all three passages?",
    ),
    Claim(
        "R+1",
        "RAG needs no training.",
        "Seconds from the documents to a first answer, and right answers of the untouched model with and without "
        "passages.",
        "01",
        "What RAG cost",
    ),
    Claim(
        "R+2",
        "With RAG, knowledge is up to date, and adding or deleting is easy.",
        "Documents are changed, added and deleted at their source: seconds until the answer follows, and deleted facts "
        "that are still told.",
        "03",
        "R+2: how fast, and is a deleted fact ever answered?",
    ),
    Claim(
        "R+3",
        "RAG is cheap: it takes embedding and search, and no more.",
        "Seconds to index all documents beside a training, and seconds an answer beside closed book.",
        "02",
        "R+3: what does a query cost?",
    ),
    Claim(
        "R+4",
        "RAG is transparent: one sees where an answer comes from.",
        "Two things apart, against the gold evidence: the list of sources made by code, and citations written by the "
        "model.",
        "04",
        "R+4: is it transparent?",
    ),
    Claim(
        "R-1",
        "RAG is limited by the context window.",
        "Right answers with one passage to eight, and with the gold passage in different places.",
        "04",
        "Experiment 3: how many passages? (R-1)",
    ),
    Claim(
        "R-2",
        "Answers of RAG are as good as its search.",
        "Right answers of one reader behind searches from perfect to random.",
        "04",
        "Experiment 4: how much does finding matter? (R-2)",
    ),
    Claim(
        "R-3",
        "RAG answers later: it has to search and to read.",
        "Seconds by stage for questions asked one by one, beside closed book.",
        "01",
        "What RAG cost",
    ),
    Claim(
        "RU1",
        "RAG suits an internal FAQ and technical documentation.",
        "Right answers to questions on HR and IT pages and on product manuals.",
        "02",
        "Does it fit? FAQ, manuals, support",
    ),
    Claim(
        "RU2",
        "RAG suits customer support over a knowledge base.",
        "Right answers to questions on support articles.",
        "02",
        "Does it fit? FAQ, manuals, support",
    ),
    Claim(
        "RU3",
        "RAG suits the search of an archive.",
        "Questions on regulations with several versions, asked as of a date, with access rights inside the search.",
        "03",
        "RU3: the archive, 'as of'",
    ),
    Claim(
        "RU4",
        "RAG suits data that change often.",
        "A dated stream of updates: right answers with an index that follows, beside one that stands still.",
        "03",
        "RU4: data that changes often",
    ),
    Claim(
        "F0",
        "Training a part of the model teaches it a domain, a tone and patterns.",
        "Tuned beside untouched and told the rules, on held-out tickets, replies and notes.",
        "06",
        "What you have measured",
    ),
    Claim(
        "FM1",
        "Training all weights is costly, and therefore rare.",
        "Training all weights beside LoRA on the same tickets: seconds, memory, size of the file, fields right.",
        "05",
        "All weights, or a small part?",
    ),
    Claim(
        "FM2",
        "LoRA trains a small part of the weights, and that is enough.",
        "LoRA written by hand and equal to the library's; ranks, targets and rates beside training all weights.",
        "05",
        "All weights, or a small part?",
    ),
    Claim(
        "F+1",
        "By fine-tuning the model really learns the domain.",
        "Facts taught as questions or read as text: asked in the taught wording, in another one, and never taught; "
        "perplexity of other documents.",
        "07",
        "Form or facts? (F+1)",
    ),
    Claim(
        "F+2",
        "A tuned model is better at a specific task.",
        "Support tickets to records, triage and extraction: the adapter beside the better way of prompting.",
        "06",
        "More tickets, and more rivals",
    ),
    Claim(
        "F+3",
        "A tuned model keeps a tone, a style, an output format.",
        "Valid records, and rules of the house style kept, beside the better way of prompting.",
        "06",
        "A tone: the house style",
    ),
    Claim(
        "F+4",
        "What was learnt takes no room in the context.",
        "Tokens of the prompt and right answers, closed book after tuning beside RAG.",
        "07",
        "No context limit (F+4)",
    ),
    Claim(
        "F-1",
        "Fine-tuning costs much: data, computing, time.",
        "Seconds of a training here, and by formula those of a model with 7 billion weights.",
        "05",
        "And a larger model?",
    ),
    Claim(
        "F-2",
        "Fine-tuning needs thousands of good examples.",
        "The same task learnt from 25 to 2,000 tickets, and with every fifth record wrong.",
        "06",
        "How many examples? (F-2)",
    ),
    Claim(
        "F-3",
        "New facts mean a new training.",
        "Facts that changed, asked of the tuned model: stale answers, and what training again repairs and breaks.",
        "07",
        "The fact that changed (F-3)",
    ),
    Claim(
        "F-4",
        "Fine-tuning overfits, and forgets what the model could do.",
        "A training past the turn of its development loss; general knowledge and ordinary prose before and after, by "
        "recipe.",
        "07",
        "Forgetting (F-4)",
    ),
    Claim(
        "FU1",
        "Fine-tuning suits texts in a very specific style.",
        "Support replies in the house style, beside prompting and a fixed frame.",
        "06",
        "A tone: the house style",
    ),
    Claim(
        "FU2",
        "Fine-tuning suits translation into trade jargon, and back.",
        "Clinical notes to plain language and back, beside prompting and the glossary put in by a program.",
        "06",
        "Jargon into plain language",
    ),
    Claim(
        "FU3",
        "Fine-tuning suits classification and extraction in a technical domain.",
        "Support tickets to records, beside prompting and a classifier on words.",
        "06",
        "More tickets, and more rivals",
    ),
    Claim(
        "FU4",
        "Fine-tuning suits repetitive tasks that must be done fast and well.",
        "Tickets a second in batches, and tickets wholly right, beside the better way of prompting.",
        "06",
        "Repetitive work: how fast? (FU4)",
    ),
    Claim(
        "T1",
        _usual("T1"),
        "The nine arms: computing to make each one and to answer with it.",
        "08",
    ),
    Claim(
        "T2",
        _usual("T2"),
        "The nine arms: their moving parts, counted.",
        "08",
    ),
    Claim(
        "T3",
        _usual("T3"),
        "The nine arms: computing before the first answer.",
        "08",
    ),
    Claim(
        "T4",
        _usual("T4"),
        "The nine arms: seconds of an update, and right answers after the stream of updates.",
        "08",
    ),
    Claim(
        "T5",
        _usual("T5"),
        "The nine arms: right answers on the same questions.",
        "08",
    ),
    Claim(
        "T6",
        _usual("T6"),
        "The nine arms: right citations.",
        "08",
    ),
    Claim(
        "T7",
        _usual("T7"),
        "The verdicts on the uses, RU1 to RU4 and FU1 to FU4.",
        "08",
    ),
    Claim(
        "C1",
        "Tune for domain, tone and format, and retrieve the facts.",
        "Customers' questions answered in the house style: facts and style scored apart, with either and with both.",
        "08",
    ),
    Claim(
        "C2",
        "The combination is the best approach.",
        "Nine arms on the same questions: RAFT + RAG minus few-shot + RAG decides first, then minus its other rivals.",
        "08",
    ),
    Claim(
        "C3",
        "An example: tune on medical jargon, retrieve the latest publications.",
        "Clinical bulletins that arrive after training: who knows the new facts, and who says them plainly.",
        "08",
    ),
    Claim(
        "D1",
        "Choose RAG where data change often, sources must be seen, the budget is small or a start must be made soon.",
        "Each reason is held against the claims that it rests on.",
        "09",
    ),
    Claim(
        "D2",
        "Choose fine-tuning where there are thousands of good examples, one precise task, means to invest and stable "
        "data.",
        "Each reason is held against the claims that it rests on.",
        "09",
    ),
    Claim(
        "D3",
        "Combine where the means are there and the best of both is wanted.",
        "Each reason is held against the claims that it rests on.",
        "09",
    ),
    Claim(
        "D4",
        "Start with RAG; fine-tuning is for special needs.",
        "Each reason is held against the claims that it rests on.",
        "09",
    ),
    Claim(
        "W1",
        "RAG over Confluence and SharePoint, with evaluation and deployment, can be taught in 3 hours 30.",
        "The lessons of that track run from start to end; their estimated minutes are added up.",
        "10",
    ),
    Claim(
        "W2",
        "Fine-tuning with LoRA and PEFT can be taught as one module of a bootcamp.",
        "The lessons of that track run from start to end; their estimated minutes are added up.",
        "10",
    ),
    Claim(
        "W3",
        "The whole path, from RAG over LoRA to both, can be learnt alone.",
        "All lessons run from start to end; their estimated minutes are added up.",
        "10",
    ),
)
