"""What the keys of the settings mean, in a few words: for the reference and for `tapeflow config`."""

from __future__ import annotations

#: Of a flow file, and of ``[flow]`` in a run file.
FLOW_KEYS = {
    "name": "The name that `explain` shows.",
    "own_indicators": "A folder with [indicators of your own](../how-to.md#add-an-indicator), one file each, relative "
    "to this file; `indicators` may then name them.",
    "lateness": "How far a watermark stays behind the newest event. `0` closes windows at once.",
    "horizon": "How far behind the watermark a trade may be and still correct its windows.",
    "candles": "Candles, and indicators over them; see below. Not computed unless given.",
    "moving_average": "Sliding means; see below. One table for each.",
    "book": "The order book; see below. Not computed unless given.",
    "trades": "The `trades` channel. It is there anyway where candles or means of trades are.",
    "quotes": "The `quotes` channel.",
    "latest_quotes": "The `quotes.latest` channel; `quotes` comes with it.",
    "klines": "The `klines` channel. With it the venue's candles stand in where trades are missing.",
    "tickers": "The `tickers` channel.",
    "candles.intervals": "Whole seconds, minutes, hours, days, up to `1w`.",
    "candles.indicators": "On each of the intervals; names as in [indicators.md](indicators.md). `[]` for none.",
    "moving_average.window": "Length of the window, whole milliseconds.",
    "moving_average.slide": "Time from one window to the next, whole milliseconds.",
    "moving_average.source": "Means of trade prices, or of the close of every kline push (`klines`).",
    "book.depth": "Levels of each side in a row.",
}

#: Of a run file, but for ``[flow]``.
RUN_KEYS = {
    "symbols": "What to follow, in the venue's spelling, in upper or lower case; at least one.",
    "venue": "The venue: `binance`.",
    "data": "The data folder, made if it is not there. Relative to the file, not to where you are.",
    "endpoints": "Where the venue is; see below.",
    "feed": "How the venue is followed; see below.",
    "tape": "How long messages are kept, and how they are written; see below.",
    "store": "Which results are kept, and how long; see below.",
    "api": "The page, REST and the stream, on one port; see below.",
    "alerts": "Who may be told of [alerts](alerts.md); see below.",
    "log": "What is said on standard error; see below.",
    "bus": "Kafka between the roles of a [cluster](../cluster.md); see below. Only where there is one.",
    "postgres": "The database that sinks write and gateways read; see below.",
    "flink": "How `tapeflow submit` runs the flow on a Flink cluster; see below.",
    "flow": "What is computed: the keys of [the flow file](flow-file.md). Without it what the store's channels need, "
    "with the contract's intervals and indicators.",
    "endpoints.websocket": "Address of the streams, such as `ws://127.0.0.1:9200`. Empty: the venue's public one.",
    "endpoints.rest": "Address of REST, such as `http://127.0.0.1:9200`. Empty: the venue's public one.",
    "feed.streams_per_connection": "Streams on one connection. What a connection takes with it when it breaks.",
    "feed.connection_age": "Span. A connection is replaced at this age, with an overlap. Unless given, ten minutes "
    "before the venue cuts it.",
    "feed.give_up": "Span. A hole that the venue has not answered for so long is given up, and coverage says so.",
    "feed.history": "Candles of the past asked for when a symbol is followed first, for each interval, so that "
    "indicators are warm; `0` for none.",
    "feed.weight_share": "The part of the venue's request weight that is used: others may share your address.",
    "tape.keep": "Span. Whole segments that are older are removed.",
    "tape.keep_bytes": "Bytes. The oldest segments beyond it are removed.",
    "tape.segment_bytes": "Bytes. A segment is closed at this size; what is removed is whole segments.",
    "tape.commit": "Span between two commits: what a kill can cost.",
    "tape.sync": "Span between two fsyncs: what a power failure can cost.",
    "tape.waiting_bytes": "Bytes that wait in memory while the disk refuses. Then the sockets are not read any more.",
    "store.channels": "The channels kept; each is a table. `coverage` is written if it is among them.",
    "store.keep": 'A span for a channel, such as `{ quotes = "1d" }`: older rows are dropped, every ten minutes. A '
    "channel without one is kept for ever.",
    "api.enabled": "Whether there is one. Without it a run only captures.",
    "api.host": "The address to listen on. One that others can reach needs a key: `tapeflow key create`.",
    "api.port": "The port; `0` takes a free one.",
    "api.allowed_hosts": "Names by which the server may be called beside its address, such as `tapeflow.example.org` "
    "behind a proxy; a request with another `Host` is refused.",
    "api.allowed_origins": "Origins, such as `https://example.org`, whose pages may read and subscribe too.",
    "api.requests_per_s": "Requests a second of one key, or of one address without a key; more get a 429.",
    "api.connections_per_address": "Connections open at once of one address, streams among them.",
    "api.connections": "Connections open at once of all together; fewer where the machine allows fewer open files.",
    "api.subscriptions_per_connection": "Keys that one stream may follow.",
    "api.messages_per_s": "Messages a second that one stream may send us.",
    "api.sql": "Whether `/v1/sql` is there: one statement that reads, and sees no file.",
    "api.sql_seconds": "Seconds that a statement may take.",
    "api.sql_rows": "Rows that a statement may give.",
    "api.require_key": "Ask for a key on a loopback address too.",
    "alerts.allow_private": "Whether webhooks may lead to private, loopback and link-local addresses.",
    "alerts.apprise": "Whether Apprise may be used. It connects wherever its URL says: private addresses too.",
    "alerts.limit": "Rules there may be.",
    "log.format": "`text` for people, `json` for machines: one object a line with `ts`, `level`, `event`.",
    "log.level": "The least level that is said.",
    "bus.bootstrap": "The brokers, `HOST:PORT,...`. Empty: what `TAPEFLOW_KAFKA` says.",
    "bus.name": "The name of this collector: its place on the bus and its symbols are kept under it.",
    "bus.prefix": "Put before the name of every topic that `topics` does not name.",
    "bus.topics": 'The topic of a channel where it is not the channel\'s own name, such as `{ trades = "my_trades" }`.',
    "bus.partitions": "Partitions of the topics of channels; the rows of a symbol are in one of them.",
    "bus.replication": "Copies of each topic; `0` for three, or as many as there are brokers. With three a message is "
    "acknowledged when two have it.",
    "bus.keep": "Span. Topics keep rows so long, events and what is computed of them; of coverage the newest row of "
    "each key stays for ever.",
    "bus.client": 'Further properties of every Kafka client, such as `{ "security.protocol" = "SSL" }`.',
    "postgres.url": "`postgresql://USER:PASSWORD@HOST:PORT/NAME`. Empty: what `TAPEFLOW_POSTGRES` says.",
    "postgres.schema": "The schema of the tables, made if it is not there.",
    "postgres.reader": "The same of a role that may only read: gateways answer `/v1/sql` as this one, and sinks give "
    "it the right to. Empty: what `TAPEFLOW_POSTGRES_READER` says, and if it says nothing there is no SQL.",
    "flink.address": "Its REST, `HOST:PORT`. Empty: what `TAPEFLOW_FLINK` says.",
    "flink.brokers": "The brokers as the cluster reaches them, where that is not as we do: in a network of its own. "
    "Empty: `bus.bootstrap`.",
    "flink.parallelism": "Tasks that work side by side; `0` for one for each partition. More than partitions are idle.",
    "flink.checkpoint": "Span between two checkpoints: with `exactly_once` rows are seen that much later.",
    "flink.guarantee": "`exactly_once` writes in transactions; `at_least_once` at once, and after a failure some rows "
    "again, whose key is the same.",
    "flink.latency": "Span. How long trades gather before their windows give a row.",
    "flink.outage": "Span. State of a window is kept for its length, the horizon and so long, counted by the clock of "
    "the cluster: the longest time that the job may be away or behind.",
    "flink.properties": 'Further properties of Flink, such as `{ "state.backend.type" = "rocksdb" }`.',
}
