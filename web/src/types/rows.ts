// Written by web/generate.py from tapeflow.stores.channels and tapeflow.api.topics.

export interface TradeRow {
  venue: string;
  symbol: string;
  id: string;
  price: string;
  size: string;
  side: string;
  ts_event: number | null;
  ts_recv: number;
  first_id: string | null;
  last_id: string | null;
}

export interface CandleRow {
  venue: string;
  symbol: string;
  interval: string;
  ts_start: number;
  ts_end: number;
  open: string;
  high: string;
  low: string;
  close: string;
  volume: string;
  quote_volume: string | null;
  taker_buy_volume: string;
  count: number;
  vwap: number | null;
  source: string;
  closed: boolean;
  revision: number;
}

export interface MovingAverageRow {
  venue: string;
  symbol: string;
  window_ms: number;
  slide_ms: number;
  ts_start: number;
  ts_end: number;
  mean: number;
  count: number;
  closed: boolean;
  revision: number;
}

export interface IndicatorRow {
  venue: string;
  symbol: string;
  interval: string;
  name: string;
  ts_start: number;
  ts_end: number;
  values: Record<string, number | null>;
  bars: number;
  closed: boolean;
  revision: number;
}

export interface CoverageRow {
  venue: string;
  symbol: string;
  stream: string;
  ts_start: number;
  ts_end: number;
  state: string;
  reason: string | null;
  first_id: string | null;
  last_id: string | null;
  guarantee: string;
}

export interface QuoteRow {
  venue: string;
  symbol: string;
  id: string;
  bid: string;
  bid_size: string;
  ask: string;
  ask_size: string;
  ts_event: number | null;
  ts_recv: number;
}

export interface BookRow {
  venue: string;
  symbol: string;
  id: string;
  bids: [string, string][];
  asks: [string, string][];
  ts_event: number | null;
  ts_recv: number;
}

export interface TickerRow {
  venue: string;
  symbol: string;
  kind: string;
  ts_event: number | null;
  ts_recv: number;
  price_change: string;
  price_change_percent: string;
  weighted_avg_price: string;
  prev_close: string;
  last_price: string;
  last_size: string;
  bid: string;
  bid_size: string;
  ask: string;
  ask_size: string;
  open: string;
  high: string;
  low: string;
  volume: string;
  quote_volume: string | null;
  ts_open: number;
  ts_close: number;
  first_id: string | null;
  last_id: string | null;
  count: number;
}

export interface Rows {
  "trades": TradeRow;
  "candles": CandleRow;
  "moving_average": MovingAverageRow;
  "indicators": IndicatorRow;
  "coverage": CoverageRow;
  "quotes": QuoteRow;
  "book": BookRow;
  "tickers": TickerRow;
  "candles.forming": CandleRow;
  "moving_average.forming": MovingAverageRow;
  "indicators.forming": IndicatorRow;
}

export type ChannelName = keyof Rows;

export const LOSSLESS: ReadonlySet<string> = new Set(["trades", "candles", "moving_average", "indicators", "signals", "anomalies", "coverage"]);

/** A message about one key; `prev` is the cursor of the message before it for that key. */
export interface DataMessage<C extends ChannelName = ChannelName> {
  type: "snapshot" | "update";
  channel: C;
  venue: string;
  symbol: string;
  interval?: string;
  name?: string;
  window_ms?: number;
  slide_ms?: number;
  prev?: string;
  cursor: string;
  conflated?: number;
  data: Rows[C][];
}
