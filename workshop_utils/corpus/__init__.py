"""The company's documents and questions: where they are, how they are read and cut into passages."""

from workshop_utils.corpus.documents import COLLECTIONS, CorpusError, data_dir, load_documents
from workshop_utils.corpus.questions import Evidence, Question, load_questions, load_training_questions
from workshop_utils.corpus.splitting import split_documents

__all__ = [
    "COLLECTIONS",
    "CorpusError",
    "Evidence",
    "Question",
    "data_dir",
    "load_documents",
    "load_questions",
    "load_training_questions",
    "split_documents",
]
