/**
 * Browser. One connection for all tabs of a user; events.js loads it once a first connection is ready.
 *
 * Each tab begins with a connection of its own. The tab that holds the user's lock leads: it keeps its
 * connection, and tells the others what it hears. Another tab follows, without a connection, for as long
 * as the leader is live and what it tells comes next; with a gap, or without a word, the tab connects by
 * itself, from its own position, until it stands where the leader does. So nothing depends on what the
 * channel between the tabs loses, or on when a leader goes.
 *
 * Lock and channel carry the server's tag of the user: pages of two users in one browser never meet.
 */

const ASK_EVERY = 10_000; // ms; a leader may hang, and then does not answer

/**
 * Makes `client` one of the tabs called `name`. `inner` is what only they do with it: `take` a message as if
 * the server had said it, `lose` the connection, `follow` without one until the function given is called.
 */
export function share(client, name, inner) {
  new Tabs(client, name, inner);
}

class Tabs {
  #client;
  #name;
  #inner;
  #channel = null;
  #left; // an AbortController, for as long as we are one of the tabs
  #timer;
  #leads = false;
  #follows = false;
  #wasTold; // by the leader, since it was asked

  constructor(client, name, inner) {
    this.#client = client;
    this.#name = name;
    this.#inner = inner;
    client.addEventListener("ready", () => this.#meet());
    client.addEventListener("event", ({ detail }) => this.#tell(detail));
    client.addEventListener("reset", ({ detail }) => this.#tell(detail));
    client.addEventListener("status", () => this.#changed());
    window.addEventListener("pagehide", this.#leave);
    this.#meet();
  }

  #meet() {
    const { position, status } = this.#client;
    // Where events are kept no more, nobody can tell what a tab has missed.
    if (!position || status !== "live") return this.#leave();
    if (!this.#channel) this.#join();
    this.#ask();
  }

  #join() {
    this.#left = new AbortController();
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.onmessage = ({ data }) => (data.asks ? this.#tell() : this.#hear(data));
    this.#timer = setInterval(() => this.#check(), ASK_EVERY);
    const { signal } = this.#left;
    // Fails if we leave before our turn, or where a page may have no locks: then nobody leads, and nobody follows.
    navigator.locks.request(this.#name, { signal }, () => this.#lead(signal)).catch(() => {});
  }

  // The browser keeps no page in its back/forward cache that holds a lock or waits for one.
  #leave = () => {
    clearInterval(this.#timer);
    this.#channel?.close();
    this.#channel = null;
    this.#left?.abort();
    this.#leads = false;
  };

  /** Leads until we leave. */
  #lead(signal) {
    if (signal.aborted) return;
    this.#leads = true;
    if (this.#follows) this.#inner.lose();
    else this.#tell();
    return new Promise((resolve) => signal.addEventListener("abort", resolve));
  }

  #tell(message) {
    if (!this.#leads) return;
    const { position, status } = this.#client;
    this.#channel.postMessage({ message, position, isLive: status === "live" });
  }

  #changed() {
    if (this.#client.status === "waiting") this.#tell();
    if (this.#client.status !== "closed") return;
    this.#leave();
    window.removeEventListener("pagehide", this.#leave);
  }

  #ask() {
    if (this.#leads) this.#tell();
    else this.#channel.postMessage({ asks: true });
  }

  #check() {
    if (this.#leads) return;
    if (this.#follows && !this.#wasTold) this.#inner.lose();
    this.#wasTold = false;
    this.#ask();
  }

  #hear({ message, position, isLive }) {
    if (this.#leads) return; // the last words of the leader before us
    this.#wasTold = true;
    if (this.#needs(message)) this.#inner.take(message);
    if (!this.#channel) return; // a handler has closed us
    if (!isLive || !this.#isPast(position)) {
      if (this.#follows) this.#inner.lose();
    } else if (!this.#follows) {
      this.#inner.follow(() => (this.#follows = false));
      this.#follows = true;
    }
  }

  #needs(message) {
    // A connection of our own brings it; and a reset that came by both would count twice.
    if (!message || !(this.#follows || this.#client.status === "waiting")) return false;
    const { epoch, seq } = this.#client.position;
    return message.type === "task.reset" || (message.epoch === epoch && message.seq === seq + 1);
  }

  #isPast({ epoch, seq }) {
    const { position } = this.#client;
    return epoch === position.epoch && seq <= position.seq;
  }
}
