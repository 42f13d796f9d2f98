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

/** A place in the user's events; `epoch` changes when the server had to start counting afresh. */
export interface Position {
  readonly epoch: string | number;
  readonly seq: number;
}

/** One completion, whole as it came over the wire. Without an event log on the server it has no position. */
export interface TaskEvent<Payload = Record<string, unknown>> {
  readonly type: "task.event";
  readonly seq: number | null;
  readonly epoch: string | number | null;
  /** The event's name, such as "report.ready". */
  readonly event: string;
  readonly data: TaskOutcome<Payload>;
}

/** What the server says once it has joined the connection to the user's events. */
export interface TaskReady {
  readonly type: "task.ready";
  readonly seq: number | null;
  readonly epoch: string | number | null;
  /** With DEBUG: the names of all events that the server's tasks announce. */
  readonly events?: readonly string[];
}

/**
 * - "connecting": a connection is under way;
 * - "live": the server has joined us, events come;
 * - "waiting": the connection was lost, the next try comes within 20 seconds;
 * - "closed": for good, by `close()` or because the server refused us (see `code`).
 */
export type Status = "connecting" | "live" | "waiting" | "closed";

/** The client's own news. They are DOM events, so no task event's name can collide with them. */
export interface TaskEventsEventMap {
  /** `client.status` has changed. */
  status: Event;
  /**
   * Every connection begins with it, the first and each later one. The moment to fetch again what the
   * page shows: while the connection was lost, an event may have been, too.
   */
  ready: CustomEvent<TaskReady>;
}

/** The connection to the signed-in user's events; it comes back by itself until it is "closed". */
export interface TaskEvents extends EventTarget {
  readonly status: Status;

  /**
   * The close code of the last connection that ended; null before. 4401: nobody is signed in, 4403: this
   * user is no longer allowed; both end in the status "closed".
   */
  readonly code: number | null;

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
  /** Where to resume: the position of the last event that the page already shows. */
  readonly since?: Position | null;
}

/**
 * Connects to the signed-in user's task events, at once.
 *
 *     connect("/ws/tasks/").on("report.ready", (event) => show(event.data.payload));
 *
 * `url` is a path from the page's origin, which becomes ws: or wss: as the page is http: or https:, or a
 * whole URL. A lost connection is tried again after a random wait of at most 20 seconds (0.5 at first), and at
 * once when the machine comes online or the page comes back into view.
 *
 * @throws TypeError for what is no such URL, and for unknown options.
 */
export function connect(url: string | URL, options?: ConnectOptions): TaskEvents;
