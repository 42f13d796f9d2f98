/**
 * Browser. For pages without JavaScript of their own:
 *
 *     <task-events src="/ws/tasks/" since="…" fallback="/tasks/events/"></task-events>
 *
 * Fires each event as a DOM event of its name, whose `detail` is the event, and the connection's own news as
 * `task-events:ready`, `task-events:reset` and `task-events:status`; all bubble. The attribute `status` says how
 * the connection is. The other attributes are read once, as it connects.
 */

import { connect } from "./events.js";

class TaskEventsElement extends HTMLElement {
  #client = null;
  #since = null; // where it was when it was taken out of the page

  connectedCallback() {
    this.#client ??= this.#listen();
  }

  disconnectedCallback() {
    // An element that is moved is disconnected and connected in one go: it need not hang up.
    queueMicrotask(() => {
      if (this.isConnected || !this.#client) return;
      this.#since = this.#client.position;
      this.#client.close();
      this.#client = null;
    });
  }

  #listen() {
    const client = connect(this.getAttribute("src") ?? "/ws/tasks/", {
      since: this.#since ?? this.getAttribute("since"),
      fallback: this.getAttribute("fallback"),
    });
    client.addEventListener("event", ({ detail }) => this.#fire(detail.event, detail));
    for (const news of ["ready", "reset"]) {
      client.addEventListener(news, ({ detail }) => this.#fire(`task-events:${news}`, detail));
    }
    client.addEventListener("status", () => this.#show(client));
    this.setAttribute("status", client.status);
    return client;
  }

  #show({ status, code }) {
    this.setAttribute("status", status);
    this.#fire("task-events:status", { status, code });
  }

  #fire(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true }));
  }
}

// The page may have the module twice, under two addresses.
if (!customElements.get("task-events")) customElements.define("task-events", TaskEventsElement);
