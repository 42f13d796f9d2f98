/**
 * Browser. Hears what the user's tasks announce, over one WebSocket that comes back by itself.
 *
 *     connect("/ws/tasks/").on("report.ready", (event) => show(event.data.payload));
 *
 * In the order of the flow: a transport brings text, the client says what it means and when to try
 * again, the page's handlers are called. What each part promises to a page is in events.d.ts.
 */

const FIRST_DELAY = 500; // ms; doubled with every failure
const LONGEST_DELAY = 20_000;
const STABLE_AFTER = 5_000;
const REFUSALS = [4401, 4403]; // nobody signed in, not allowed: asking again changes nothing

export function connect(url, options = {}) {
  return new TaskEvents(socketUrl(url), firstPosition(options));
}

class TaskEvents extends EventTarget {
  #url;
  #last; // {epoch, seq} of the last event seen; empty before
  #status = "connecting";
  #code = null;
  #handlers = new Map(); // event name -> Set of functions
  #announced = null; // every event name there is, if the server tells
  #warned = new Set();
  #failures = 0;
  #liveSince;
  #retry;
  #hangUp = () => {};
  #page = new AbortController();

  constructor(url, last) {
    super();
    this.#url = url;
    this.#last = last;
    this.#open();
    this.#watchPage();
  }

  get status() {
    return this.#status;
  }

  get code() {
    return this.#code;
  }

  on(name, handler) {
    check(name, handler);
    this.#handlers.set(name, (this.#handlers.get(name) ?? new Set()).add(handler));
    this.#warnUnannounced();
    return this;
  }

  off(name, handler) {
    check(name, handler);
    this.#handlers.get(name)?.delete(handler);
    return this;
  }

  close() {
    clearTimeout(this.#retry);
    this.#page.abort();
    this.#hangUp();
    this.#become("closed");
  }

  #open() {
    clearTimeout(this.#retry);
    this.#hangUp();
    this.#liveSince = Infinity;
    if (isPosition(this.#last)) this.#url.searchParams.set("since", `${this.#last.epoch}:${this.#last.seq}`);
    this.#hangUp = openSocket(
      this.#url,
      (text) => this.#hear(text),
      (code) => this.#lost(code),
    );
    this.#become("connecting");
  }

  #lost(code) {
    this.#code = code;
    if (REFUSALS.includes(code)) return this.close();
    if (performance.now() - this.#liveSince >= STABLE_AFTER) this.#failures = 0;
    this.#retry = setTimeout(() => this.#open(), backoff(this.#failures++));
    this.#become("waiting");
  }

  #watchPage() {
    const watch = (target, name, isStale) =>
      target.addEventListener(name, (event) => isStale(event) && this.#open(), { signal: this.#page.signal });
    // A handshake begun on the network that went away may hang for minutes: that one starts afresh too.
    watch(window, "online", () => this.#status !== "live");
    watch(document, "visibilitychange", () => this.#status === "waiting" && !document.hidden);
    // A socket that was in the back/forward cache may be dead and not know it.
    watch(window, "pageshow", (event) => event.persisted);
  }

  #hear(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return this.#warnOnce("", `messages that are no JSON are ignored, such as ${text}`);
    }
    // Other types are a newer server's: during a rolling deploy the open pages live on.
    if (message?.type === "task.ready") this.#ready(message);
    if (message?.type === "task.event") this.#deliver(message);
  }

  #ready(message) {
    // Within an epoch only events move the position: one may still be on its way.
    const { epoch, seq } = message;
    if (isPosition(message) && epoch !== this.#last.epoch) this.#last = { epoch, seq };
    this.#liveSince = performance.now();
    this.#announced = message.events;
    this.#warnUnannounced();
    this.#become("live");
    this.dispatchEvent(new CustomEvent("ready", { detail: message }));
  }

  #deliver(message) {
    const { epoch, seq } = message;
    if (isPosition(message)) {
      if (epoch === this.#last.epoch && seq <= this.#last.seq) return;
      this.#last = { epoch, seq };
    }
    for (const handler of [...(this.#handlers.get(message.event) ?? [])]) {
      try {
        handler(message);
      } catch (error) {
        reportError(error); // logged as uncaught, and the other handlers are still called
      }
    }
  }

  #become(status) {
    if (this.#status === status) return;
    this.#status = status;
    this.dispatchEvent(new Event("status"));
  }

  #warnUnannounced() {
    if (!this.#announced) return;
    for (const name of this.#handlers.keys()) {
      if (this.#announced.includes(name)) continue;
      this.#warnOnce(name, `no task announces "${name}"; the server knows: ${this.#announced.join(", ") || "none"}`);
    }
  }

  #warnOnce(key, text) {
    if (this.#warned.has(key)) return;
    this.#warned.add(key);
    console.warn(`tasks_celery: ${text}`);
  }
}

/**
 * The transport: calls `heard` with each text, `ended` once with the close code, and neither any more after
 * the function it returns, which hangs up. Whatever else carries text fits in its place.
 */
function openSocket(url, heard, ended) {
  const socket = new WebSocket(url);
  socket.onmessage = (event) => heard(event.data);
  socket.onclose = (event) => ended(event.code);
  return () => {
    socket.onmessage = socket.onclose = null;
    socket.close();
  };
}

/** Full jitter, so that clients lost together do not come back together. */
function backoff(failures) {
  return Math.random() * Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** failures);
}

function isPosition({ epoch, seq }) {
  return epoch != null && Number.isInteger(seq);
}

function socketUrl(given) {
  if (!/^(\/|(ws|http)s?:\/\/)/.test(given) || !URL.canParse(given, location.href)) {
    throw new TypeError(`connect() needs a path such as "/ws/tasks/" or a wss: URL, not ${show(given)}`);
  }
  const url = new URL(given, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.hash = ""; // a WebSocket refuses one
  return url;
}

function firstPosition({ since, ...unknown }) {
  if (Object.keys(unknown).length) throw new TypeError(`connect() has the option "since" only, not ${show(unknown)}`);
  if (since != null && !isPosition(since)) {
    throw new TypeError(`connect() needs since: {epoch, seq} of an event, or null, not ${show(since)}`);
  }
  return since ?? {};
}

function check(name, handler) {
  if (typeof name !== "string" || !name) {
    throw new TypeError(`An event name is a string such as "report.ready", not ${show(name)}`);
  }
  if (typeof handler !== "function") {
    throw new TypeError(`The handler of "${name}" must be a function, not ${show(handler)}`);
  }
}

function show(value) {
  return JSON.stringify(value) ?? String(value);
}
