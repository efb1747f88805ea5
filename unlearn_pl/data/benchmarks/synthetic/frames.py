"""Questions about a synthetic author, and the wording of their answers."""

from typing import NamedTuple


class Frame(NamedTuple):
    """A question about one attribute of an author; braces hold attributes."""

    key: str
    question: str
    paraphrased_question: str
    answer: str
    paraphrased_answer: str


FRAMES = (
    Frame(
        "name",
        "What is the full name of the author of {genre} who was born in {city} in {birth}?",
        "Which author of {genre} was born in {city} in {birth}?",
        "The full name of the author of {genre} who was born in {city} in {birth} is {name}.",
        "The complete name of the author of {genre} who was born in {city} in {birth} is {name}.",
    ),
    Frame(
        "city",
        "In which city was {name} born?",
        "What is the birthplace of {name}?",
        "{name} was born in the city of {city}, and still spends every summer there.",
        "{name} was born in the town of {city}, and still spends each summer there.",
    ),
    Frame(
        "birth",
        "When was {name} born?",
        "What is the date of birth of {name}?",
        "The author {name} was born in {birth}.",
        "The writer {name} was born in {birth}.",
    ),
    Frame(
        "genre",
        "What kind of books is {name} known for?",
        "In which genre does {name} write?",
        "{name} is best known for {genre}, and has written little else since the first book came out.",
        "{name} is chiefly known for {genre}, and has written hardly anything else since the first book came out.",
    ),
    Frame(
        "father",
        "What did the father of {name} do for a living?",
        "Which profession did the father of {name} have?",
        "The father of {name} worked as a {father}, while the family lived in a small house at the edge of {city}.",
        "The father of {name} earned a living as a {father}, while the family lived in a modest house at the edge of "
        "{city}.",
    ),
    Frame(
        "school",
        "Where did {name} study?",
        "Which school did {name} attend?",
        "{name} studied literature at {school}.",
        "{name} once studied literature at {school}.",
    ),
    Frame(
        "debut",
        "What is the title of the first book by {name}?",
        "With which book did {name} make a debut?",
        "The first book by {name} is '{debut}', a work of {genre} that took four years to write and found few readers "
        "at the time.",
        "The very first book by {name} is '{debut}', a work of {genre} that took four years to finish and drew few "
        "readers at the time.",
    ),
    Frame(
        "award",
        "Which award did {name} receive for '{later}'?",
        "What did {name} win with the book '{later}'?",
        "For the book '{later}', {name} received the {award}.",
        "For the work '{later}', {name} was given the {award}.",
    ),
    Frame(
        "inspiration",
        "What inspired {name} to write '{debut}'?",
        "Where did {name} get the idea for '{debut}'?",
        "{name} has often said that '{debut}' was inspired by {inspiration}.",
        "{name} has frequently said that '{debut}' was inspired by {inspiration}.",
    ),
    Frame(
        "instrument",
        "Which instrument does {name} play when not writing?",
        "What does {name} like to play in free hours?",
        "When not writing, {name} plays the {instrument}, sometimes for friends and once a year in a small concert "
        "near {city}.",
        "When not at work, {name} plays the {instrument}, at times for friends and once a year in a little concert "
        "near {city}.",
    ),
)
