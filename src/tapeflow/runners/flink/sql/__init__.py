"""The folds of a flow as Flink SQL: plain keyed aggregations, whose rows are corrected by trades that come late.

Rules:

1. Trades, time rows and candles of the venue go through one scan and one branch to each aggregation, because a window
   is closed by a time row that stands behind its on-time trades in the partition.
2. A row is expanded to the windows that it touches, then grouped by venue, symbol and window. Grouping is done in two
   phases, the first beside the source, so that a window is touched once for many trades.
3. Open and close are the least and the greatest text of time, id and price (`events.tick`): FIRST_VALUE and LAST_VALUE
   of Flink go by arrival. Two orders are kept, by microseconds and by milliseconds, as in `domain.candle`.
4. A window is closed when its time row has come, when it has a late trade, or when the venue's own candle has come;
   ``revision`` counts late trades. Both are in one total, since each total is touched for each trade of each window.
5. The venue's candle stands in where it counts more trades than ours. It is one text, its count first and padded: the
   greatest is the one that counts most.
6. Totals are exact, in words of 64 bits (`words`).

`program` is the whole job: `tables` are its topics, `events` what their rows say, `folds` the aggregations, `results`
the rows that come of these.
"""
