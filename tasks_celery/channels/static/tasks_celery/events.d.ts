/** What a task's result is worth to a page: no arguments, no return value, only what `payload=` chose. */
export interface TaskOutcome<Payload = Record<string, unknown>> {
  /** The id of the task result. */
  readonly id: string;
  /** The task's name, such as "reports.tasks.build_report". */
  readonly name: string;
  readonly status: "SUCCESSFUL" | "FAILED";
  /** ISO 8601, as are the other times. */
  readonly enqueued_at: string | null;
  readonly started_at: string | null;
  readonly finished_at: string | null;
  /** What the task's `@notify(payload=…)` returned, or null without one. */
  readonly payload: Payload | null;
}

/**
 * A place in the user's events: `seq` counts them without a gap, within one `epoch`, which changes when the server
 * had to start counting afresh.
 */
export interface Position {
  readonly epoch: string;
  readonly seq: number;
}

/** One completion, whole as it came over the wire. Where the server keeps no events, it has no position. */
export interface TaskEvent<Payload = Record<string, unknown>> {
  readonly type: "task.event";
  readonly seq: number | null;
  readonly epoch: string | null;
  /** The event's name, such as "report.ready". */
  readonly event: string;
  readonly data: TaskOutcome<Payload>;
}

/** What the server says once it has sent all that came since the page's position: events come as they happen now. */
export interface TaskReady {
  readonly type: "task.ready";
  readonly seq: number | null;
  readonly epoch: string | null;
  /** A tag of the user: tabs with the same share a connection. It tells nothing else. */
  readonly user?: string;
  /** With DEBUG: the names of all events that the server's tasks announce. */
  readonly events?: readonly string[];
}

/** What the server says where it cannot send all that came since the page's position. Events go on from this one. */
export interface TaskReset {
  readonly type: "task.reset";
  readonly seq: number | null;
  readonly epoch: string | null;
}

/**
 * - "connecting": a connection is under way;
 * - "live": events come, over a connection of this page's own or by way of the tab that has one;
 * - "waiting": the connection was lost, the next try comes within 20 seconds;
 * - "closed": for good, by `close()` or because the server refused us (see `code`).
 */
export type Status = "connecting" | "live" | "waiting" | "closed";

/** The client's own news. They are DOM events, so no task event's name can collide with them. */
export interface TaskEventsEventMap {
  /** `client.status` has changed. */
  status: Event;
  /**
   * The page has every event up to here, and from now on they come as they happen. Comes with each connection of the
   * page's own, so not with each time that "live" is reached. Where the server keeps no events, what happened while the
   * connection was lost is gone: then this is the moment to fetch again what the page shows.
   */
  ready: CustomEvent<TaskReady>;
  /**
   * Events are missing that the server keeps no more, or the server lost them all: fetch again what the page shows.
   * `ready` follows, unless another tab has the connection.
   */
  reset: CustomEvent<TaskReset>;
  /** Any task event, before its handlers are called. */
  event: CustomEvent<TaskEvent>;
}

/**
 * The signed-in user's events, each once and in order; the connection comes back by itself until it is "closed".
 *
 *     for await (const event of client) show(event.data.payload);
 *
 * A loop takes the events of all names from its first turn on, and ends once the client is closed and it has taken
 * those before that. What it has not taken yet waits in the page's memory, however much that is: a loop should not be
 * slower than the events for long.
 */
export interface TaskEvents extends EventTarget, AsyncIterable<TaskEvent> {
  readonly status: Status;

  /**
   * The close code of the last connection that ended, 1006 where there was none; null before. 4401: nobody is signed
   * in, 4403: this user is no longer allowed, or somebody else has signed in; both end in the status "closed".
   */
  readonly code: number | null;

  /** Where the page is: of the last event heard, or of where the server said to begin. Null where neither is known. */
  readonly position: Position | null;

  /**
   * Calls `handler` with each event of that name, once however often it was added. A handler that throws
   * is reported to the console and stops neither the others nor the connection.
   *
   * @throws TypeError for a name that is empty or no string, or a handler that is no function. A name that
   * no task announces is warned of in the console if the server runs with DEBUG.
   */
  on<Payload = Record<string, unknown>>(name: string, handler: (event: TaskEvent<Payload>) => void): this;

  /** Calls `handler` no more for that name. */
  off<Payload = Record<string, unknown>>(name: string, handler: (event: TaskEvent<Payload>) => void): this;

  /** Ends the connection for good; `connect()` makes a new one. */
  close(): void;

  addEventListener<Name extends keyof TaskEventsEventMap>(
    type: Name,
    listener: (this: TaskEvents, event: TaskEventsEventMap[Name]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<Name extends keyof TaskEventsEventMap>(
    type: Name,
    listener: (this: TaskEvents, event: TaskEventsEventMap[Name]) => void,
    options?: boolean | EventListenerOptions,
  ): void;
}

export interface ConnectOptions {
  /**
   * Where to resume: the position of the last event that the page already shows, or its text "epoch:seq", as
   * `{% task_events_since %}` renders it. Without it, or with an empty text, events come from now on.
   */
  readonly since?: Position | string | null;

  /**
   * Who listens, for pages without a session: a token of the server's, or what returns one, called for each connection.
   * It is the first message over the socket, within 10 seconds, and never in an address. If it cannot be had, that is
   * reported to the console, and tried again as a lost connection is.
   */
  readonly token?: string | (() => string | Promise<string>) | null;

  /**
   * The address of the same events as Server-Sent Events, such as "/tasks/events/", for networks that let no WebSocket
   * through. After three sockets that brought nothing, every other try is a stream. A stream that works stays until it
   * is lost or the page is loaded again; then a socket is tried first. A stream takes no token, only a session, and one
   * that is refused from the start is tried again: a browser does not tell why.
   */
  readonly fallback?: string | null;

  /**
   * Whether the tabs of one user share a connection, as they do by default where the browser has locks (so not on
   * pages over plain HTTP, but for localhost). One tab keeps its connection and tells the others what it hears; another
   * takes over when it goes. A tab that cannot be sure to have heard all connects by itself until it is: at the latest
   * 20 seconds after the tab with the connection has stopped to answer, or a minute where it is in the background.
   * A connection without positions is not shared.
   */
  readonly shared?: boolean;
}

/**
 * Connects to the signed-in user's task events, at once.
 *
 *     connect("/ws/tasks/", { since }).on("report.ready", (event) => show(event.data.payload));
 *
 * `url` is a path from the page's origin, which becomes ws: or wss: as the page is http: or https:, or a
 * whole URL. A lost connection is tried again after a random wait of at most 20 seconds (0.5 at first), and at
 * once when the machine comes online or the page comes back into view. A page in the back/forward cache has none.
 *
 * The client acknowledges what it has heard, so that the server need not send faster than the page takes. The module
 * loads tabs.js, which lies beside it, once there is something to share; without that file each tab has its own
 * connection.
 *
 * @throws TypeError for what is no such URL, and for unknown options.
 */
export function connect(url: string | URL, options?: ConnectOptions): TaskEvents;
