"""Questions whose answer a model cannot know: people, places and things that do not exist."""

UNKNOWN_QUESTIONS = (
    "What did Orvellin Tashmar serve at the opening of his third bakery?",
    "Which instrument did the painter Ysolde Kemmerak keep in her attic?",
    "In which year was the lighthouse of Port Andruva painted green?",
    "What is the name of the dog that Brannick Oyelwe lost as a boy?",
    "How many steps lead up to the observatory of Quellmere?",
    "Who repaired the organ of the chapel at Nether Vostling?",
    "What was the first job of the chess master Imre Daskovar?",
    "Which color are the doors in the village of Halm-over-Threll?",
    "What did Pelonia Vrask write on the back of her last postcard?",
    "Who taught the sailor Tobin Achterwald to knit?",
    "What is kept in the cellar of the museum of Lower Essimar?",
    "Which river did Maristo Quaine cross on his sixtieth birthday?",
    "What was the password of the reading club of East Dorrigan?",
    "How did the gardener Liselka Toumarine name her best rose?",
    "Which song closed the harvest feast of Ambrelay last year?",
    "What did the baker's daughter of Kirrin Hollow study?",
    "Where did the clockmaker Anselm Rooivel hide his drawings?",
    "Which prize did the poet Nadira Holmquay turn down?",
    "How long did the ferry between Sult and Marrowisle run?",
    "What was the nickname of the goalkeeper Edvin Castorelle?",
)
