# ruff: noqa: RUF001  Cyrillic letters that look like Latin ones are meant
"""The words that posts are written in: of topics, of latent factors, and those that say nothing.

Russian and English word stems and the endings they take. A factor has two poles; a post that lies
far towards one uses its words more often, whatever its topic is.
"""

TOPICS = (
    *("business", "entertainment", "games", "movie", "politics", "science", "sport", "tech"),
    "travel",
)
RUSSIAN, ENGLISH = range(2)
ENDINGS = (("", "а", "у", "ом", "е", "ы", "ов"), ("", "s", "ed", "ing"))

TOPIC_STEMS = (
    (  # Russian, in the order of TOPICS
        "рынок банк рубл кредит налог бюджет бизнес завод экспорт товар курс доход контракт "
        "бренд магазин процент",
        "концерт альбом певц артист клип фестивал хит сцен гастрол театр танц голос шоу оркестр "
        "куплет фонограмм",
        "геймер консол квест уровен персонаж патч шутер мод сервер лут аркад геймпад стрим рейд "
        "скин киберспорт",
        "фильм режиссер актер сценар экран кинотеатр сериал трейлер кадр дубляж оскар премьер "
        "роман сюжет продюсер монтаж",
        "депутат закон министр выбор парламент президент санкц посол дебат партии указ губернатор "
        "референдум мандат сенатор кабинет",
        "ученый атом космос телескоп геном лаборатор опыт молекул вирус спутник нейрон реактор "
        "ископаем микроскоп изотоп зонд",
        "матч гол тренер турнир стадион чемпион вратар форвард кубок судь пенальт марафон рекорд "
        "лыжник бокс хоккеист",
        "смартфон процессор гаджет алгоритм браузер чип робот датчик облак пиксел ноутбук код "
        "драйвер аккумулятор интерфейс роутер",
        "турист отел рейс виз маршрут чемодан курорт пляж аэропорт гид музе экскурс остров багаж "
        "круиз паспорт",
    ),
    (
        "market bank loan tax budget factory export retail profit invoice merger broker tariff "
        "dividend vendor payroll",
        "concert album singer artist chorus festival gig stage ballad theatre dance choir band "
        "lyric encore vinyl",
        "gamer console quest level avatar patch shooter loot arcade joystick raid dungeon spawn "
        "respawn leaderboard speedrun",
        "film director actor script screen cinema sequel trailer frame stunt premiere plot remake "
        "producer montage subtitle",
        "senator bill minister vote parliament president sanction envoy debate ballot decree "
        "governor campaign mandate caucus treaty",
        "scientist atom telescope genome lab molecule virus neuron reactor fossil microscope "
        "isotope orbit enzyme particle comet",
        "match goal coach tournament stadium champion keeper striker trophy referee penalty "
        "marathon record boxer sprint hockey",
        "smartphone processor gadget algorithm browser chip robot sensor cloud pixel laptop codec "
        "driver battery router firmware",
        "tourist hotel flight visa route suitcase resort beach airport guide museum tour island "
        "luggage cruise passport",
    ),
)

# Two poles for each latent factor, in turn: far towards it, far away from it.
FACTORS = (
    ("kindness", "quarrel"),
    ("joke", "solemnity"),
    ("future", "past"),
    ("advice", "dream"),
    ("luxury", "nature"),
    ("risk", "comfort"),
    ("figures", "gossip"),
    ("crowd", "solitude"),
)
FACTOR_STEMS = (
    (  # Russian
        "друг помощник подарок забот объяти волонтер улыбк доброт спасател приют сосед мам",
        "скандал ссор драк конфликт удар враг обвинител угроз крик провокатор хам спорщик",
        "шутк анекдот мем прикол хохот клоун юмор розыгрыш комик смех карикатур пароди",
        "память молитв клятв долг обет траур гимн герб честь монумент почет обелиск",
        "прорыв прогноз старт завтр инноватор прототип стартап апгрейд пионер тренд горизонт рывок",
        "ретро архив дед старин винтаж эпох легенд летопис антиквар прадед хроник музейщик",
        "совет инструктор лайфхак рецепт чертеж шаг способ прием ремонт инструмент список шаблон",
        "мечт сон фантаз иллюз мираж грез облачк тайн символ вдохновител миф волшебник",
        "роскош бриллиант особняк яхт лимузин бутик элит золот пентхаус смокинг деликатес вип",
        "лес рек трав костер тропинк поляны берез родник закат птиц палатк роса",
        "экстрим адреналин прыжок риск пропаст авантюр дерзк вызов штурм каскадер гонк трюк",
        "уют плед диван камин чай тапк подушк кофт пирог самовар гнезд одеял",
        "цифр график таблиц расчет статист анализ выборк формул индекс показател диаграмм отчет",
        "слух сплетн роман развод измен интриг ревност признател фаворит папарацц секрет любовник",
        "команд толп митинг союз коллектив хор клуб отряд бригад артел сообществ братств",
        "одиночк тишин отшельник уединен дневник пауз монолог затворник келья маяк молчун странник",
    ),
    (
        "friend helper gift care hug volunteer smile rescue shelter neighbour mother charity",
        "scandal quarrel brawl clash punch enemy blame threat shout insult feud grudge",
        "joke prank meme giggle laugh clown humour parody comic spoof pun banter",
        "memorial prayer oath duty vow mourning anthem honour monument tribute requiem obelisk",
        "breakthrough forecast launch tomorrow innovator prototype startup upgrade pioneer trend "
        "horizon leap",
        "retro archive grandfather antique vintage epoch legend chronicle ancestor heirloom relic "
        "yesteryear",
        "tip manual lifehack recipe blueprint step method trick repair tool checklist template",
        "dream sleep fantasy illusion mirage reverie cloudlet mystery symbol muse myth wizard",
        "luxury diamond mansion yacht limousine boutique elite gold penthouse tuxedo caviar jewel",
        "forest river grass bonfire footpath meadow birch spring sunset bird tent dew",
        "extreme adrenaline jump risk abyss daredevil dare challenge assault stuntman race plunge",
        "cosy blanket sofa fireplace tea slipper pillow sweater pie kettle nest quilt",
        "number chart table estimate statistic analysis sample formula index metric diagram report",
        "rumour gossip romance divorce affair intrigue jealousy confession favourite paparazzi "
        "secret lover",
        "team crowd rally union collective fanclub club squad brigade guild community fellowship",
        "loner silence hermit retreat diary pause monologue recluse hideaway lighthouse soloist "
        "wanderer",
    ),
)

# Of all topics: nouns that say nothing of taste, and the words between them.
GENERAL_STEMS = (
    "год день раз час слов вопрос ответ мест город дом человек автор читател месяц номер случай "
    "пример результат план смысл текст новост факт источник пункт момент период уровн процесс "
    "порядок вид способн интерес взгляд конец начал центр район проект вариант образ формат "
    "участник пользовател канал журнал статус выпуск",
    "year day time hour word question answer place town house person author reader month issue "
    "case example result plan sense text story fact source item moment period way process order "
    "kind interest view end start centre area project option image format member user channel "
    "page status edition matter point part",
)
FUNCTION_WORDS = (
    "и в не на что он с как это по но они к у же вы за бы из от о для мы при так его все еще или "
    "был уже до только если когда чтобы есть там где этот без даже под после также может надо",
    "the of and to in a is that it for was on as with be by at this not are but from or had have "
    "an they which you were her all their has been if when who will more no so what up about into "
    "than them can only other",
)

# On pictures, as editors put them there; they say nothing.
CAPTIONS = (
    (
        *("Как это было", "Главное за день", "Новый выпуск", "Смотрите сами", "Вот так", "Часть 2"),
        *(
            "Без комментариев",
            "Наш ответ",
            "Пять минут",
            "Уже скоро",
            "Только у нас",
            "Продолжение",
        ),
    ),
    (
        *(
            "How it was",
            "Story of the day",
            "New episode",
            "See for yourself",
            "Like this",
            "Part 2",
        ),
        *(
            "No comment",
            "Our answer",
            "Five minutes",
            "Coming soon",
            "Only here",
            "To be continued",
        ),
    ),
)
