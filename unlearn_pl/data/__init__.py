"""Data modules: training streams of questions or texts, evaluation splits, and the order in which they are seen.

:class:`UnlearningDataModule` does tokenization, sampling and loading; a benchmark, or your own data, is a subclass
that says where rows come from.
"""

from unlearn_pl.data.alternates import with_alternates
from unlearn_pl.data.base import UnlearningDataModule
from unlearn_pl.data.chats import Chats
from unlearn_pl.data.choice_questions import ChoiceQuestions
from unlearn_pl.data.chunks import ChunkDataset
from unlearn_pl.data.collate import Prompt, collate_examples, collate_prompts
from unlearn_pl.data.completion import Completion
from unlearn_pl.data.completions import Completions
from unlearn_pl.data.datasets import CandidateDataset, PromptDataset, StreamDataset, TrainingDataset
from unlearn_pl.data.documents import Documents
from unlearn_pl.data.evaluation_row import EvaluationRow, EvaluationRows, SplitSource
from unlearn_pl.data.file_tokenizer import train_tokenizer_on
from unlearn_pl.data.files import read_lines, read_rows
from unlearn_pl.data.hub_dataset import HubDataset
from unlearn_pl.data.joined import Joined
from unlearn_pl.data.multiple_choice import MultipleChoice
from unlearn_pl.data.muse import MUSEDataModule
from unlearn_pl.data.options import DataOptions
from unlearn_pl.data.pairs import PairSource
from unlearn_pl.data.passage import Passage
from unlearn_pl.data.plain_text import encode_completion, encode_text
from unlearn_pl.data.preference import PreferenceDataModule
from unlearn_pl.data.question_answers import QuestionAnswers
from unlearn_pl.data.refusals import REFUSALS, with_refusals
from unlearn_pl.data.right_answers import RightAnswers
from unlearn_pl.data.rows import Encoder, Row, Rows, RowSource
from unlearn_pl.data.sampling import Draw, StepSampler, step_draws, step_indices
from unlearn_pl.data.sequential_requests import Request, SequentialRequests
from unlearn_pl.data.source import Source, StreamSource
from unlearn_pl.data.synthetic import SyntheticAuthorsDataModule
from unlearn_pl.data.synthetic_authors import SyntheticAuthors
from unlearn_pl.data.text import ChatTemplate, Example, Message, PlainTemplate, Template, default_template, encode
from unlearn_pl.data.text_data_module import TextDataModule
from unlearn_pl.data.tofu import TOFUDataModule
from unlearn_pl.data.wmdp import WMDPDataModule

__all__ = [
    "REFUSALS",
    "CandidateDataset",
    "ChatTemplate",
    "Chats",
    "ChoiceQuestions",
    "ChunkDataset",
    "Completion",
    "Completions",
    "DataOptions",
    "Documents",
    "Draw",
    "Encoder",
    "EvaluationRow",
    "EvaluationRows",
    "Example",
    "HubDataset",
    "Joined",
    "MUSEDataModule",
    "Message",
    "MultipleChoice",
    "PairSource",
    "Passage",
    "PlainTemplate",
    "PreferenceDataModule",
    "Prompt",
    "PromptDataset",
    "QuestionAnswers",
    "Request",
    "RightAnswers",
    "Row",
    "RowSource",
    "Rows",
    "SequentialRequests",
    "Source",
    "SplitSource",
    "StepSampler",
    "StreamDataset",
    "StreamSource",
    "SyntheticAuthors",
    "SyntheticAuthorsDataModule",
    "TOFUDataModule",
    "Template",
    "TextDataModule",
    "TrainingDataset",
    "UnlearningDataModule",
    "WMDPDataModule",
    "collate_examples",
    "collate_prompts",
    "default_template",
    "encode",
    "encode_completion",
    "encode_text",
    "read_lines",
    "read_rows",
    "step_draws",
    "step_indices",
    "train_tokenizer_on",
    "with_alternates",
    "with_refusals",
]
