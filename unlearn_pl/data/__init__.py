"""Data modules: training streams of questions or texts, evaluation splits, and the order in which they are seen.

:class:`UnlearningDataModule` does tokenization, sampling and loading; a benchmark, or your own data, is a subclass
that provides the rows.
"""

from unlearn_pl.data.benchmarks.code.code_data import CodeDataModule
from unlearn_pl.data.benchmarks.code.code_streams import CodeStreams
from unlearn_pl.data.benchmarks.code.synthetic_functions import SyntheticFunctionsDataModule
from unlearn_pl.data.benchmarks.custom import TextDataModule
from unlearn_pl.data.benchmarks.lume import LUMEDataModule
from unlearn_pl.data.benchmarks.muse import MUSEDataModule
from unlearn_pl.data.benchmarks.preference import PreferenceDataModule
from unlearn_pl.data.benchmarks.rwku import RWKUDataModule
from unlearn_pl.data.benchmarks.synthetic.authors import SyntheticAuthors
from unlearn_pl.data.benchmarks.synthetic.contracts import SyntheticContracts
from unlearn_pl.data.benchmarks.synthetic.contracts_module import SyntheticContractsDataModule
from unlearn_pl.data.benchmarks.synthetic.data_module import SyntheticAuthorsDataModule
from unlearn_pl.data.benchmarks.tofu import TOFUDataModule
from unlearn_pl.data.benchmarks.wmdp import WMDPDataModule
from unlearn_pl.data.canvas.canvas import Canvas
from unlearn_pl.data.canvas.concepts import ConceptRequest, ForgetObject, ForgetPair, ForgetStyle
from unlearn_pl.data.canvas.image_prompts import ImagePromptDataModule
from unlearn_pl.data.canvas.mini import MiniCanvasDataModule
from unlearn_pl.data.canvas.module import CanvasDataModule
from unlearn_pl.data.canvas.rows import CanvasRowsDataModule
from unlearn_pl.data.canvas.unlearn_canvas import UnlearnCanvasDataModule
from unlearn_pl.data.collate import Prompt, collate_examples, collate_prompts
from unlearn_pl.data.evaluation.cloze_choice import ClozeChoice
from unlearn_pl.data.evaluation.code_completion import CodeCompletion
from unlearn_pl.data.evaluation.completion import Completion
from unlearn_pl.data.evaluation.datasets import CandidateDataset, PromptDataset
from unlearn_pl.data.evaluation.evaluation_row import EvaluationRow, EvaluationRows, SplitSource
from unlearn_pl.data.evaluation.multiple_choice import MultipleChoice
from unlearn_pl.data.evaluation.passage import Passage
from unlearn_pl.data.images.arrays import ImageArrays, ImageFile
from unlearn_pl.data.images.dataset import ImageSource, LabeledImages
from unlearn_pl.data.images.folder import ImageFolder
from unlearn_pl.data.images.module import ImageDataModule
from unlearn_pl.data.images.requests import ForgetClass, ForgetMislabeled, ForgetRandom, ForgetRequest, ForgetRows
from unlearn_pl.data.images.rows import ImageRows
from unlearn_pl.data.io.file_tokenizer import train_tokenizer_on
from unlearn_pl.data.io.hub_dataset import HubDataset
from unlearn_pl.data.io.rows import read_lines, read_rows
from unlearn_pl.data.module import UnlearningDataModule
from unlearn_pl.data.options import DataOptions
from unlearn_pl.data.requests.mixed_prompts import MixedPrompts
from unlearn_pl.data.requests.sequential import Request, SequentialRequests
from unlearn_pl.data.sampling import Draw, StepSampler, StepShare, example_seeds, step_draws, step_indices
from unlearn_pl.data.selection.embedders import ClassScores, Embedder, HiddenStates
from unlearn_pl.data.selection.pool import Pool
from unlearn_pl.data.selection.selected_source import SelectedSource
from unlearn_pl.data.selection.selector import Ranking, ScoreSelector, Selector
from unlearn_pl.data.selection.selectors.feature_mapping import FeatureMapping
from unlearn_pl.data.selection.selectors.gradient_norm import GradientNorm
from unlearn_pl.data.selection.selectors.label_mapping import LabelMapping
from unlearn_pl.data.selection.selectors.min_k_loss import MinKLoss
from unlearn_pl.data.selection.selectors.moderate import Moderate
from unlearn_pl.data.selection.selectors.nearest import NearestRows
from unlearn_pl.data.selection.selectors.random import Random
from unlearn_pl.data.selection.sentence_encoder import SentenceEncoder
from unlearn_pl.data.stream_module import StreamDataModule
from unlearn_pl.data.streams.chats import Chats
from unlearn_pl.data.streams.choice_questions import ChoiceQuestions
from unlearn_pl.data.streams.chunks import ChunkDataset
from unlearn_pl.data.streams.completions import Completions
from unlearn_pl.data.streams.datasets import StreamDataset, TrainingDataset
from unlearn_pl.data.streams.documents import Documents
from unlearn_pl.data.streams.joined import Joined
from unlearn_pl.data.streams.pairs import PairSource
from unlearn_pl.data.streams.question_answers import QuestionAnswers
from unlearn_pl.data.streams.right_answers import RightAnswers
from unlearn_pl.data.streams.source import Source, StreamSource
from unlearn_pl.data.streams.weighted_answers import WeightedAnswers
from unlearn_pl.data.text.alternates import with_alternates
from unlearn_pl.data.text.encoder import Encoder, Row, Rows, RowSource
from unlearn_pl.data.text.plain import encode_completion, encode_text
from unlearn_pl.data.text.refusals import REFUSALS, with_refusals
from unlearn_pl.data.text.template import (
    ChatTemplate,
    Example,
    Message,
    PlainTemplate,
    Template,
    default_template,
    encode,
)
from unlearn_pl.data.views.augmented_questions import AugmentedQuestions
from unlearn_pl.data.views.code_views import CodeViews
from unlearn_pl.data.views.question_views import ParaphrasedQuestions, QuestionFrames
from unlearn_pl.data.views.row_views import RowViews
from unlearn_pl.data.views.staggered_views import StaggeredViews

__all__ = [
    "REFUSALS",
    "AugmentedQuestions",
    "CandidateDataset",
    "Canvas",
    "CanvasDataModule",
    "CanvasRowsDataModule",
    "ChatTemplate",
    "Chats",
    "ChoiceQuestions",
    "ChunkDataset",
    "ClassScores",
    "ClozeChoice",
    "CodeCompletion",
    "CodeDataModule",
    "CodeStreams",
    "CodeViews",
    "Completion",
    "Completions",
    "ConceptRequest",
    "DataOptions",
    "Documents",
    "Draw",
    "Embedder",
    "Encoder",
    "EvaluationRow",
    "EvaluationRows",
    "Example",
    "FeatureMapping",
    "ForgetClass",
    "ForgetMislabeled",
    "ForgetObject",
    "ForgetPair",
    "ForgetRandom",
    "ForgetRequest",
    "ForgetRows",
    "ForgetStyle",
    "GradientNorm",
    "HiddenStates",
    "HubDataset",
    "ImageArrays",
    "ImageDataModule",
    "ImageFile",
    "ImageFolder",
    "ImagePromptDataModule",
    "ImageRows",
    "ImageSource",
    "Joined",
    "LUMEDataModule",
    "LabelMapping",
    "LabeledImages",
    "MUSEDataModule",
    "Message",
    "MinKLoss",
    "MiniCanvasDataModule",
    "MixedPrompts",
    "Moderate",
    "MultipleChoice",
    "NearestRows",
    "PairSource",
    "ParaphrasedQuestions",
    "Passage",
    "PlainTemplate",
    "Pool",
    "PreferenceDataModule",
    "Prompt",
    "PromptDataset",
    "QuestionAnswers",
    "QuestionFrames",
    "RWKUDataModule",
    "Random",
    "Ranking",
    "Request",
    "RightAnswers",
    "Row",
    "RowSource",
    "RowViews",
    "Rows",
    "ScoreSelector",
    "SelectedSource",
    "Selector",
    "SentenceEncoder",
    "SequentialRequests",
    "Source",
    "SplitSource",
    "StaggeredViews",
    "StepSampler",
    "StepShare",
    "StreamDataModule",
    "StreamDataset",
    "StreamSource",
    "SyntheticAuthors",
    "SyntheticAuthorsDataModule",
    "SyntheticContracts",
    "SyntheticContractsDataModule",
    "SyntheticFunctionsDataModule",
    "TOFUDataModule",
    "Template",
    "TextDataModule",
    "TrainingDataset",
    "UnlearnCanvasDataModule",
    "UnlearningDataModule",
    "WMDPDataModule",
    "WeightedAnswers",
    "collate_examples",
    "collate_prompts",
    "default_template",
    "encode",
    "encode_completion",
    "encode_text",
    "example_seeds",
    "read_lines",
    "read_rows",
    "step_draws",
    "step_indices",
    "train_tokenizer_on",
    "with_alternates",
    "with_refusals",
]
