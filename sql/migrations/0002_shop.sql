-- The shop: raw copies, quarantine and daily aggregates.

-- Raw: what the source said, by event day, with when we learned it -----------------------------

create table raw.apparel_purchases (
    client_id bigint not null,
    quantity integer,
    price numeric,
    category_ids text,
    date date,
    message_id text,
    copies integer not null,
    event_day date not null,
    known_from date not null,
    known_to date not null default 'infinity'
) partition by range (event_day);
comment on table raw.apparel_purchases is 'Purchases of the shop, one row per line bought';
comment on column raw.apparel_purchases.client_id is 'Client who bought';
comment on column raw.apparel_purchases.quantity is 'Pieces';
comment on column raw.apparel_purchases.price is 'Price of one piece';
comment on column raw.apparel_purchases.category_ids is 'The owner''s list of category ids, written as text';
comment on column raw.apparel_purchases.date is 'Day of the purchase, in the owner''s calendar';
comment on column raw.apparel_purchases.message_id is 'Message the purchase is tied to, if any';
comment on column raw.apparel_purchases.copies is 'Times the source holds this very row; exact duplicates are one row here';
comment on column raw.apparel_purchases.event_day is 'UTC day of the event; the partition';
comment on column raw.apparel_purchases.known_from is 'as_of of the extraction that first saw the row';
comment on column raw.apparel_purchases.known_to is 'as_of from which the source no longer had it; infinity while it stands';

create table quarantine.apparel_purchases (
    client_id bigint,
    quantity integer,
    price numeric,
    category_ids text,
    date date,
    message_id text,
    copies integer not null,
    event_day date,
    as_of date not null,
    known_to date not null default 'infinity',
    reasons text[] not null,
    quarantined_at timestamptz not null default clock_timestamp()
);
comment on table quarantine.apparel_purchases is 'Rows of raw.apparel_purchases that a check refused';
comment on column quarantine.apparel_purchases.client_id is 'Client who bought';
comment on column quarantine.apparel_purchases.quantity is 'Pieces';
comment on column quarantine.apparel_purchases.price is 'Price of one piece';
comment on column quarantine.apparel_purchases.category_ids is 'The owner''s list of category ids, written as text';
comment on column quarantine.apparel_purchases.date is 'Day of the purchase, in the owner''s calendar';
comment on column quarantine.apparel_purchases.message_id is 'Message the purchase is tied to, if any';
comment on column quarantine.apparel_purchases.copies is 'Times the source holds this very row; exact duplicates are one row here';
comment on column quarantine.apparel_purchases.event_day is 'UTC day of the event; null where the row has no time';
comment on column quarantine.apparel_purchases.as_of is 'Extraction that refused it';
comment on column quarantine.apparel_purchases.known_to is 'as_of from which the source no longer had it; infinity while it stands';
comment on column quarantine.apparel_purchases.reasons is 'Rules it broke';
comment on column quarantine.apparel_purchases.quarantined_at is 'When';

create table raw.apparel_messages (
    bulk_campaign_id bigint,
    client_id bigint not null,
    message_id text,
    event text,
    channel text,
    date date,
    created_at timestamptz,
    copies integer not null,
    event_day date not null,
    known_from date not null,
    known_to date not null default 'infinity'
) partition by range (event_day);
comment on table raw.apparel_messages is 'Messages to clients and what became of them, one row per event';
comment on column raw.apparel_messages.bulk_campaign_id is 'Campaign';
comment on column raw.apparel_messages.client_id is 'Client addressed';
comment on column raw.apparel_messages.message_id is 'Message; the same id comes back in other years';
comment on column raw.apparel_messages.event is 'send, open, click, purchase, close, unsubscribe, complain, hard_bounce or soft_bounce';
comment on column raw.apparel_messages.channel is 'email, mobile_push, web_push or sms';
comment on column raw.apparel_messages.date is 'Day, in the owner''s calendar; decides where created_at is null';
comment on column raw.apparel_messages.created_at is 'Time of the event: the cutoff time';
comment on column raw.apparel_messages.copies is 'Times the source holds this very row; exact duplicates are one row here';
comment on column raw.apparel_messages.event_day is 'UTC day of the event; the partition';
comment on column raw.apparel_messages.known_from is 'as_of of the extraction that first saw the row';
comment on column raw.apparel_messages.known_to is 'as_of from which the source no longer had it; infinity while it stands';

-- Few rows have these events, so the index is small: it finds the message a purchase is tied to.
create index apparel_messages_tied on raw.apparel_messages (client_id, message_id)
where event in ('click', 'purchase');

create table quarantine.apparel_messages (
    bulk_campaign_id bigint,
    client_id bigint,
    message_id text,
    event text,
    channel text,
    date date,
    created_at timestamptz,
    copies integer not null,
    event_day date,
    as_of date not null,
    known_to date not null default 'infinity',
    reasons text[] not null,
    quarantined_at timestamptz not null default clock_timestamp()
);
comment on table quarantine.apparel_messages is 'Rows of raw.apparel_messages that a check refused';
comment on column quarantine.apparel_messages.bulk_campaign_id is 'Campaign';
comment on column quarantine.apparel_messages.client_id is 'Client addressed';
comment on column quarantine.apparel_messages.message_id is 'Message; the same id comes back in other years';
comment on column quarantine.apparel_messages.event is 'send, open, click, purchase, close, unsubscribe, complain, hard_bounce or soft_bounce';
comment on column quarantine.apparel_messages.channel is 'email, mobile_push, web_push or sms';
comment on column quarantine.apparel_messages.date is 'Day, in the owner''s calendar; decides where created_at is null';
comment on column quarantine.apparel_messages.created_at is 'Time of the event: the cutoff time';
comment on column quarantine.apparel_messages.copies is 'Times the source holds this very row; exact duplicates are one row here';
comment on column quarantine.apparel_messages.event_day is 'UTC day of the event; null where the row has no time';
comment on column quarantine.apparel_messages.as_of is 'Extraction that refused it';
comment on column quarantine.apparel_messages.known_to is 'as_of from which the source no longer had it; infinity while it stands';
comment on column quarantine.apparel_messages.reasons is 'Rules it broke';
comment on column quarantine.apparel_messages.quarantined_at is 'When';

create table raw.client_event (
    client_id bigint not null,
    event_time timestamptz,
    event_type text,
    product_id bigint,
    copies integer not null,
    event_day date not null,
    known_from date not null,
    known_to date not null default 'infinity'
) partition by range (event_day);
comment on table raw.client_event is 'What clients did in the shop, one row per event';
comment on column raw.client_event.client_id is 'Client';
comment on column raw.client_event.event_time is 'Time of the event';
comment on column raw.client_event.event_type is 'view, cart, favorite, purchase, return, cancel ...';
comment on column raw.client_event.product_id is 'Product, if any';
comment on column raw.client_event.copies is 'Times the source holds this very row; exact duplicates are one row here';
comment on column raw.client_event.event_day is 'UTC day of the event; the partition';
comment on column raw.client_event.known_from is 'as_of of the extraction that first saw the row';
comment on column raw.client_event.known_to is 'as_of from which the source no longer had it; infinity while it stands';

create table quarantine.client_event (
    client_id bigint,
    event_time timestamptz,
    event_type text,
    product_id bigint,
    copies integer not null,
    event_day date,
    as_of date not null,
    known_to date not null default 'infinity',
    reasons text[] not null,
    quarantined_at timestamptz not null default clock_timestamp()
);
comment on table quarantine.client_event is 'Rows of raw.client_event that a check refused';
comment on column quarantine.client_event.client_id is 'Client';
comment on column quarantine.client_event.event_time is 'Time of the event';
comment on column quarantine.client_event.event_type is 'view, cart, favorite, purchase, return, cancel ...';
comment on column quarantine.client_event.product_id is 'Product, if any';
comment on column quarantine.client_event.copies is 'Times the source holds this very row; exact duplicates are one row here';
comment on column quarantine.client_event.event_day is 'UTC day of the event; null where the row has no time';
comment on column quarantine.client_event.as_of is 'Extraction that refused it';
comment on column quarantine.client_event.known_to is 'as_of from which the source no longer had it; infinity while it stands';
comment on column quarantine.client_event.reasons is 'Rules it broke';
comment on column quarantine.client_event.quarantined_at is 'When';

create table raw.apparel_target_binary (
    as_of date not null,
    client_id bigint not null,
    target smallint not null check (target in (0, 1)),
    primary key (as_of, client_id)
);
comment on table raw.apparel_target_binary is 'Labels that the owner ships; they override computed ones';
comment on column raw.apparel_target_binary.as_of is 'Day the label stands on: bought in the horizon after it';
comment on column raw.apparel_target_binary.client_id is 'Client';
comment on column raw.apparel_target_binary.target is '1 bought, 0 did not';

-- Features: a row per client and day, versioned by when it was known ------------------------------

create table feature.purchase_day (
    client_id bigint not null,
    event_day date not null,
    known_from date not null,
    known_to date not null default 'infinity',
    lines integer not null,
    quantity bigint not null,
    spent numeric not null,
    price_sum numeric not null,
    min_price numeric not null,
    max_price numeric not null,
    categories text[] not null,
    tied_lines integer not null,
    tied_channels text[] not null,
    tied_campaigns bigint[] not null
);
create index purchase_day_by_client on feature.purchase_day (client_id);
create index purchase_day_by_day on feature.purchase_day using brin (event_day, known_from) with (pages_per_range = 16);
create index purchase_day_closed on feature.purchase_day (known_to) where known_to < 'infinity';
comment on table feature.purchase_day is 'Purchases by client and day; holds for as_of D when event_day < D and known_from <= D < known_to';
comment on column feature.purchase_day.client_id is 'Client';
comment on column feature.purchase_day.event_day is 'UTC day of the events';
comment on column feature.purchase_day.known_from is 'as_of from which this version of the day is known';
comment on column feature.purchase_day.known_to is 'as_of from which a later version holds; infinity while this one does';
comment on column feature.purchase_day.lines is 'Lines bought, exact duplicates counted once';
comment on column feature.purchase_day.quantity is 'Pieces';
comment on column feature.purchase_day.spent is 'Sum of quantity times price, in the shop''s currency';
comment on column feature.purchase_day.price_sum is 'Sum of the lines'' prices: price_sum / lines is the mean price';
comment on column feature.purchase_day.min_price is 'Lowest price of a line';
comment on column feature.purchase_day.max_price is 'Highest price of a line';
comment on column feature.purchase_day.categories is 'Category ids of all lines, sorted; one that two lines have stands twice';
comment on column feature.purchase_day.tied_lines is 'Lines that carry a message id';
comment on column feature.purchase_day.tied_channels is 'Channel of each such line''s message, unknown where no click or purchase of the last 30 days has its id';
comment on column feature.purchase_day.tied_campaigns is 'Campaign of each such line''s message, where it is known';

create table feature.message_day (
    client_id bigint not null,
    event_day date not null,
    channel text not null,
    known_from date not null,
    known_to date not null default 'infinity',
    sends integer not null,
    opens integer not null,
    clicks integer not null,
    purchases integer not null,
    closes integer not null,
    unsubscribes integer not null,
    complaints integer not null,
    hard_bounces integer not null,
    soft_bounces integer not null
);
create index message_day_by_day on feature.message_day using brin (event_day, known_from) with (pages_per_range = 16);
create index message_day_closed on feature.message_day (known_to) where known_to < 'infinity';
comment on table feature.message_day is 'Message events by client, day and channel; versions as in purchase_day';
comment on column feature.message_day.client_id is 'Client';
comment on column feature.message_day.event_day is 'UTC day of the events';
comment on column feature.message_day.channel is 'email, mobile_push, web_push or sms';
comment on column feature.message_day.known_from is 'as_of from which this version of the day is known';
comment on column feature.message_day.known_to is 'as_of from which a later version holds; infinity while this one does';
comment on column feature.message_day.sends is 'Messages sent';
comment on column feature.message_day.opens is 'Openings';
comment on column feature.message_day.clicks is 'Clicks';
comment on column feature.message_day.purchases is 'Purchases that the messaging system attributes';
comment on column feature.message_day.closes is 'Messages closed';
comment on column feature.message_day.unsubscribes is 'Unsubscriptions';
comment on column feature.message_day.complaints is 'Complaints';
comment on column feature.message_day.hard_bounces is 'Messages that can never be delivered';
comment on column feature.message_day.soft_bounces is 'Messages that could not be delivered for now';

create table feature.event_day (
    client_id bigint not null,
    event_day date not null,
    event_type text not null,
    known_from date not null,
    known_to date not null default 'infinity',
    events integer not null
);
create index event_day_by_day on feature.event_day using brin (event_day, known_from) with (pages_per_range = 16);
create index event_day_closed on feature.event_day (known_to) where known_to < 'infinity';
comment on table feature.event_day is 'Shop events by client, day and type; versions as in purchase_day';
comment on column feature.event_day.client_id is 'Client';
comment on column feature.event_day.event_day is 'UTC day of the events';
comment on column feature.event_day.event_type is 'view, cart, favorite, purchase, return or cancel';
comment on column feature.event_day.known_from is 'as_of from which this version of the day is known';
comment on column feature.event_day.known_to is 'as_of from which a later version holds; infinity while this one does';
comment on column feature.event_day.events is 'Events of that type';

create table feature.client_life (
    client_id bigint not null,
    valid_from date not null,
    valid_to date not null default 'infinity',
    first_seen_day date not null,
    first_message_day date,
    first_purchase_day date,
    last_purchase_day date,
    purchase_days integer not null,
    lines integer not null,
    quantity bigint not null,
    spent numeric not null,
    price_sum numeric not null,
    gap_days integer not null,
    gap_days_squared bigint not null,
    max_gap integer not null,
    primary key (client_id, valid_from)
);
create index client_life_by_validity on feature.client_life (valid_to, valid_from);
comment on table feature.client_life is 'A client''s whole life as of a day: the row with valid_from <= D < valid_to. Costs clients, not history';
comment on column feature.client_life.client_id is 'Client';
comment on column feature.client_life.valid_from is 'First as_of that this row describes';
comment on column feature.client_life.valid_to is 'as_of from which the next row does; infinity while this one does';
comment on column feature.client_life.first_seen_day is 'Day of the first message event or purchase';
comment on column feature.client_life.first_message_day is 'Day of the first message event; null without one';
comment on column feature.client_life.first_purchase_day is 'Day of the first purchase; null without one';
comment on column feature.client_life.last_purchase_day is 'Day of the last purchase; null without one';
comment on column feature.client_life.purchase_days is 'Days with a purchase';
comment on column feature.client_life.lines is 'Lines bought';
comment on column feature.client_life.quantity is 'Pieces';
comment on column feature.client_life.spent is 'Sum of quantity times price, in the shop''s currency';
comment on column feature.client_life.price_sum is 'Sum of the lines'' prices: price_sum / lines is the mean price';
comment on column feature.client_life.gap_days is 'Sum of the gaps between successive purchase days, in days';
comment on column feature.client_life.gap_days_squared is 'Sum of the squares of those gaps';
comment on column feature.client_life.max_gap is 'Longest of those gaps, in days; 0 where there is none';

do $$
declare
    owned regclass;
begin
    for owned in
        select oid from pg_class
        where relnamespace in ('raw'::regnamespace, 'quarantine'::regnamespace, 'feature'::regnamespace)
        and relkind in ('r', 'p')
    loop
        execute format('alter table %s owner to nightshift', owned);
    end loop;
end
$$;
