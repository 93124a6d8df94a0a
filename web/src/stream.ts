/**
 * One WebSocket for the whole page. It comes again by itself, resumes every lossless topic from its last cursor, and
 * checks that each message follows the one before it; where one does not, `lost` tells, and the listener asks REST.
 */
import { key } from "./api";
import { LOSSLESS, type ChannelName, type DataMessage, type Rows } from "./types/rows";

export type State = "connecting" | "live" | "gone";

export interface Listener<C extends ChannelName> {
  rows(rows: Rows[C][], message: DataMessage<C>): void;
  /** Messages may be missing since the last: ask for what was. */
  lost?(): void;
  /** The channel is not served. */
  refused?(message: string): void;
}

interface Topic {
  channel: ChannelName;
  symbol: string;
  interval: string | undefined;
  listeners: Set<Listener<never>>;
  cursors: Map<string, string>;
  last: Map<string, DataMessage>;
}

/** Silence after which a connection is taken for dead: the server beats every 5 s. */
const DEAD_MS = 11_000;
const SLOWEST_MS = 5_000;

export class Stream {
  state: State = "connecting";
  /** Microseconds that the server's clock is ahead of ours. */
  offset = 0;
  /** When the next attempt is made, by `performance.now()`. */
  retryAt = 0;
  private socket: WebSocket | null = null;
  private readonly topics = new Map<string, Topic>();
  private readonly fresh = new Set<Topic>();
  private readonly asked = new Map<number, Topic[]>();
  private readonly pings = new Map<number, number>();
  private heard = 0;
  private number = 0;
  private failures = 0;
  private best = Infinity;
  private retry = 0;
  private isFlushing = false;

  constructor(private readonly changed: (state: State) => void) {
    window.setInterval(() => this.watch(), 1000);
    window.addEventListener("online", () => this.connect());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.state === "gone") this.connect();
    });
  }

  connect(): void {
    if (this.socket) return;
    window.clearTimeout(this.retry);
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/stream`);
    this.socket = socket;
    this.heard = performance.now();
    socket.onopen = () => this.opened();
    socket.onmessage = (event: MessageEvent<string>) => this.read(event.data);
    socket.onclose = () => this.closed(socket);
  }

  /** Follow a topic until what is returned is called. */
  subscribe<C extends ChannelName>(channel: C, symbol: string, interval: string | undefined, listener: Listener<C>): () => void {
    const id = `${channel} ${symbol} ${interval ?? ""}`;
    let topic = this.topics.get(id);
    if (!topic) {
      topic = { channel, symbol, interval, listeners: new Set(), cursors: new Map(), last: new Map() };
      this.topics.set(id, topic);
      this.ask(topic);
    } else {
      for (const message of topic.last.values()) listener.rows(message.data as Rows[C][], message as DataMessage<C>);
    }
    const held = listener as unknown as Listener<never>;
    topic.listeners.add(held);
    const mine = topic;
    return () => {
      mine.listeners.delete(held);
      if (mine.listeners.size || this.topics.get(id) !== mine) return;
      this.topics.delete(id);
      if (!this.fresh.delete(mine)) this.send("unsubscribe", params([mine]));
    };
  }

  // -- the connection --

  private opened(): void {
    this.failures = 0;
    this.best = Infinity;
    this.asked.clear();
    this.pings.clear();
    const secret = key();
    if (secret) this.send("auth", { key: secret });
    this.fresh.clear();
    for (const topic of this.topics.values()) this.ask(topic);
    this.ping();
    this.become("live");
  }

  private closed(socket: WebSocket): void {
    if (this.socket !== socket) return;
    this.socket = null;
    const wait = Math.min(SLOWEST_MS, 250 * 2 ** this.failures++) * (0.75 + Math.random() / 2);
    this.retryAt = performance.now() + wait;
    this.retry = window.setTimeout(() => this.connect(), wait);
    this.become("gone");
  }

  private watch(): void {
    if (!this.socket) return;
    if (performance.now() - this.heard > DEAD_MS) {
      const socket = this.socket;
      socket.close();
      this.closed(socket);
    } else if (this.state === "live") {
      this.ping();
    }
  }

  private ping(): void {
    if (this.pings.size > 3) return;
    const id = this.send("ping", undefined);
    if (id) this.pings.set(id, Date.now());
  }

  private become(state: State): void {
    this.state = state;
    this.changed(state);
  }

  // -- requests --

  private ask(topic: Topic): void {
    this.fresh.add(topic);
    if (this.isFlushing) return;
    this.isFlushing = true;
    queueMicrotask(() => {
      this.isFlushing = false;
      this.flush();
    });
  }

  /** Topics of one channel and interval are asked for together. */
  private flush(): void {
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    const groups = Map.groupBy(this.fresh, (topic) => `${topic.channel} ${topic.interval ?? ""}`);
    this.fresh.clear();
    for (const group of groups.values()) {
      const resume = Object.fromEntries(group.filter((one) => one.cursors.size).map((one) => [one.symbol, cursors(one)]));
      const asked = { ...params(group), snapshot: 20, ...(Object.keys(resume).length ? { resume } : {}) };
      const id = this.send("subscribe", asked);
      if (id) this.asked.set(id, group);
    }
  }

  private send(method: string, given: object | undefined): number {
    if (this.socket?.readyState !== WebSocket.OPEN) return 0;
    const req_id = ++this.number;
    this.socket.send(JSON.stringify(given ? { method, params: given, req_id } : { method, req_id }));
    return req_id;
  }

  // -- messages --

  private read(text: string): void {
    this.heard = performance.now();
    const message = JSON.parse(text) as { type: string } & Record<string, unknown>;
    switch (message.type) {
      case "snapshot":
      case "update":
        this.take(message as unknown as DataMessage);
        break;
      case "pong":
        this.pong(message as unknown as { req_id: number; ts: number });
        break;
      case "ack":
        this.acknowledged(message as unknown as { req_id: number; result: { recovered?: Record<string, boolean> } });
        break;
      case "error":
        this.refused(message as unknown as { req_id: number; error: { message: string } });
        break;
    }
  }

  private take(message: DataMessage): void {
    const topic = this.topics.get(`${message.channel} ${message.symbol} ${message.interval ?? ""}`);
    if (!topic) return;
    const sub = message.name ?? (message.slide_ms ? `${message.window_ms}/${message.slide_ms}` : "");
    const known = topic.cursors.get(sub);
    const isLossless = LOSSLESS.has(message.channel);
    if (isLossless) topic.cursors.set(sub, message.cursor);
    else topic.last.set(sub, message);
    // What is missing is asked for from the rows before these.
    if (isLossless && message.type === "update" && known !== undefined && known !== message.prev) this.lose(topic);
    for (const listener of topic.listeners) (listener as unknown as Listener<ChannelName>).rows(message.data, message);
  }

  private lose(topic: Topic): void {
    for (const listener of topic.listeners) listener.lost?.();
  }

  private acknowledged(message: { req_id: number; result: { recovered?: Record<string, boolean> } }): void {
    const group = this.asked.get(message.req_id) ?? [];
    this.asked.delete(message.req_id);
    for (const topic of group) {
      if (message.result.recovered?.[topic.symbol] === false) {
        topic.cursors.clear();
        this.lose(topic);
      }
    }
  }

  private refused(message: { req_id: number; error: { message: string } }): void {
    const group = this.asked.get(message.req_id) ?? [];
    this.asked.delete(message.req_id);
    for (const topic of group) for (const listener of topic.listeners) listener.refused?.(message.error.message);
  }

  private pong(message: { req_id: number; ts: number }): void {
    const sent = this.pings.get(message.req_id);
    this.pings.delete(message.req_id);
    if (sent === undefined) return;
    const now = Date.now();
    if (now - sent <= this.best) {
      this.best = now - sent;
      this.offset = message.ts - ((sent + now) / 2) * 1000;
    } else {
      this.best += 1; // an old best counts less and less: clocks drift
    }
  }
}

function params(group: Topic[]): Record<string, unknown> {
  const [first] = group;
  const found: Record<string, unknown> = { channel: first?.channel, symbols: group.map((topic) => topic.symbol) };
  if (first?.interval) found["interval"] = first.interval;
  return found;
}

function cursors(topic: Topic): string | Record<string, string> {
  const alone = topic.cursors.get("");
  return alone ?? Object.fromEntries(topic.cursors);
}
