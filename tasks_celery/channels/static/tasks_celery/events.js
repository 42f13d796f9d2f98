/** Browser. From a transport's texts to the page's handlers. Its promises are in events.d.ts. */

export function connect(url, options = {}) {
  return new TaskEvents(url, options);
}

class TaskEvents extends EventTarget {
  status = "connecting";
  code = null;
  position; // of the last event seen
  #url;
  #token;
  #fallback;
  #shared;
  #handlers = new Map();
  #announced; // event names, if the server tells
  #warned = new Set();
  #failures = 0;
  #tries = 0; // since a socket brought text
  #liveSince;
  #hangUp = () => {}; // ends a connection, or the wait for one
  #page = new AbortController();
  #user;
  #tabs;
  #next = Promise.withResolvers();

  constructor(url, { since, token, fallback, shared = true, ...unknown }) {
    super();
    need(!Object.keys(unknown)[0], "connect() has the options since, token, fallback and shared", unknown);
    this.position = positionOf(since);
    this.#url = socketUrl(url);
    this.#token = token;
    this.#fallback = fallback;
    this.#shared = shared && navigator.locks;
    this.#open();
    this.#watchPage();
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

  async *[Symbol.asyncIterator]() {
    let next = this.#next;
    for (let heard; (heard = await next.promise); next = heard.next) yield heard.message;
  }

  close() {
    this.#hangUp();
    this.#page.abort();
    this.#next.resolve();
    this.#become("closed");
  }

  #open() {
    // After three in vain, every other one.
    const streams = ++this.#tries > 3 && this.#tries % 2 === 0 && this.#fallback;
    const url = new URL(streams || this.#url, location.href);
    if (this.position) url.searchParams.set("since", `${this.position.epoch}:${this.position.seq}`);
    const heard = (text) => {
      if (!streams) this.#tries = 0;
      this.#hear(text);
      return this.position;
    };
    const open = streams ? openStream : openSocket;
    this.#hangUp();
    this.#hangUp = open(url, heard, (code) => this.#lost(code), this.#token);
    this.#become("connecting");
  }

  #lost(code) {
    this.code = code;
    // Nobody signed in, not allowed.
    if (code === 4401 || code === 4403) return this.close();
    if (performance.now() - this.#liveSince >= 5_000) this.#failures = 0;
    // Full jitter: clients lost together do not come back together.
    const delay = Math.random() * Math.min(20_000, 500 * 2 ** this.#failures++);
    const retry = setTimeout(() => this.#open(), delay);
    this.#wait(() => clearTimeout(retry));
  }

  #wait(hangUp, status = "waiting") {
    this.#hangUp();
    this.#hangUp = hangUp;
    this.#become(status);
  }

  #watchPage() {
    const watch = (target, name, then) => target.addEventListener(name, then, this.#page);
    const wake = () => document.hidden || this.status !== "waiting" || this.#open();
    // A handshake on the network that went away may hang.
    watch(window, "online", () => this.status === "live" || this.#open());
    watch(document, "visibilitychange", wake);
    watch(window, "pageshow", wake);
    // In the cache a socket dies unnoticed.
    watch(window, "pagehide", () => this.#wait(() => {}));
  }

  #hear(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return this.#warnOnce("", `messages that are no JSON are ignored, such as ${text}`);
    }
    this.#take(message ?? {});
  }

  #take(message) {
    const { type } = message;
    // Other types are a newer server's.
    if (type === "task.event") this.#deliver(message);
    if (type === "task.ready") this.#ready(message);
    if (type === "task.close") this.#lost(message.code);
    if (type === "task.reset") {
      this.position = positionIn(message);
      this.#fire("reset", message);
    }
  }

  #ready(message) {
    const { epoch, events, user = this.#user } = message;
    this.#user ??= user;
    if (user !== this.#user) return this.#lost(4403); // somebody else has signed in
    // Within an epoch only events move it.
    if (epoch !== this.position?.epoch) this.position = positionIn(message);
    this.#announced = events;
    this.#warnUnannounced();
    this.#become("live");
    this.#fire("ready", message);
    if (this.#shared && user && this.position) this.#share();
  }

  #deliver(message) {
    const { epoch, seq } = this.position ?? {};
    if (message.epoch === epoch && message.seq <= seq) return;
    this.position = positionIn(message) ?? this.position;
    this.#fire("event", message);
    const next = Promise.withResolvers();
    this.#next.resolve({ message, next });
    this.#next = next;
    for (const handler of [...(this.#handlers.get(message.event) ?? [])]) {
      try {
        handler(message);
      } catch (error) {
        reportError(error); // and go on
      }
    }
  }

  #share() {
    this.#tabs ??= import("./tabs.js").then(({ share }) =>
      share(this, `tasks_celery:${this.#url}:${this.#user}`, {
        take: (message) => this.#take(message),
        lose: () => this.#lost(1006),
        follow: (stop) => this.#wait(stop, "live"),
      }),
    );
  }

  #become(status) {
    if (this.status === status) return;
    this.status = status;
    this.#liveSince = status === "live" ? performance.now() : Infinity;
    this.#fire("status");
  }

  #fire(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  #warnUnannounced() {
    for (const name of this.#announced ? this.#handlers.keys() : []) {
      if (this.#announced.includes(name)) continue;
      this.#warnOnce(name, `no task announces "${name}"; the server knows: ${this.#announced.join(", ") || "none"}`);
    }
  }

  #warnOnce(key, text) {
    if (!this.#warned.has(key)) console.warn(`tasks_celery: ${text}`);
    this.#warned.add(key);
  }
}

/** A transport calls `heard` and `lost` until the function it returns hangs up. */
function openSocket(url, heard, lost, token) {
  url.searchParams.set("acks", 1);
  if (token) url.searchParams.set("auth", "message");
  const socket = new WebSocket(url);
  const send = (message) => socket.readyState === 1 && socket.send(JSON.stringify(message));
  let seen;
  let timer;
  let count = 0;
  const acknowledge = () => {
    timer = 0;
    send({ seen });
  };
  socket.onopen = async () => {
    try {
      if (token) send({ token: token.call ? await token() : token });
    } catch (error) {
      reportError(error);
      socket.close();
    }
  };
  socket.onmessage = (event) => {
    seen = heard(event.data);
    if (!seen) return;
    if (++count % 50 === 0) acknowledge();
    else timer ||= setTimeout(acknowledge, 500);
  };
  socket.onclose = (event) => lost(event.code);
  return () => {
    socket.onmessage = socket.onclose = null;
    socket.close();
  };
}

function openStream(url, heard, lost) {
  const stream = new EventSource(url);
  stream.onmessage = (event) => heard(event.data);
  stream.onerror = () => lost(1006); // it has no backoff
  return () => stream.close();
}

function positionIn({ epoch, seq }) {
  return epoch != null && Number.isInteger(seq) ? { epoch, seq } : null;
}

function positionOf(since) {
  const [, epoch, seq] = /^(.+):(\d+)$/.exec(since) ?? [];
  const position = positionIn(epoch ? { epoch, seq: Number(seq) } : (since ?? {}));
  need(position || !since, 'connect() needs since: "epoch:seq" or {epoch, seq}', since);
  return position;
}

function socketUrl(given) {
  need(/^(\/|(ws|http)s?:\/\/\w)/.test(given), 'connect() needs a path such as "/ws/tasks/" or a wss: URL', given);
  const url = new URL(given, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.hash = ""; // a WebSocket refuses one
  return url;
}

function check(name, handler) {
  need(name && typeof name === "string", 'An event name is a string such as "report.ready"', name);
  need(typeof handler === "function", `The handler of "${name}" must be a function`, handler);
}

function need(isRight, text, value) {
  if (!isRight) throw new TypeError(`${text}, not ${JSON.stringify(value) ?? value}`);
}
