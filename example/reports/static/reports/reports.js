/**
 * Browser. Keeps the list of reports true without a reload.
 *
 * The page was made at a position in its user's events, and is told all that came after, also while its socket
 * was away. Only where that cannot be had (`reset`: the server keeps them no more) is the list of states read.
 */

import { refresh, say, showLocalTimes } from "./parts.js";

const LABELS = { waiting: "Waiting", building: "Building", ready: "Ready", failed: "Failed" };
const IS_PENDING = '[data-state="waiting"], [data-state="building"]';

export function follow(client, { statesUrl }) {
  // Without a payload the event says that something ended, and the states say what.
  const listen = (name, state) =>
    client.on(name, ({ data }) => (data.payload ? arrived({ ...data.payload, state }) : catchUp(statesUrl)));
  listen("report.ready", "ready");
  listen("report.failed", "failed");
  client.addEventListener("reset", () => catchUp(statesUrl));
  // The log of events was away when the page was made.
  if (!client.position) client.addEventListener("ready", () => catchUp(statesUrl), { once: true });
  client.addEventListener("status", () => showConnection(client));
  showConnection(client);
  showLocalTimes(document);
}

async function arrived(report) {
  if (!row(report.report)) await refresh("reports"); // asked for in another tab
  show(report);
  announce(report);
}

async function catchUp(statesUrl) {
  if (!document.querySelector(IS_PENDING)) return;
  try {
    const { reports } = await (await fetch(statesUrl)).json();
    reports.filter(show).forEach(announce);
  } catch (error) {
    say("The states could not be read. Reload the page to see them.");
    throw error;
  }
}

/**
 * Change a row, and say whether that was news. An answer may be older than an event that came meanwhile: what
 * has ended stays as it is.
 */
function show({ report, state, title, download_url: url, reason }) {
  const shown = row(report);
  if (!shown || !shown.matches(IS_PENDING) || shown.dataset.state === state) return false;
  shown.dataset.state = state;
  shown.querySelector(".state").textContent = LABELS[state];
  const why = shown.querySelector(".reason");
  why.textContent = reason ?? "";
  why.hidden = !reason;
  if (state === "ready") shown.append(downloadLink(url, title));
  shown.classList.toggle("fresh", !shown.matches(IS_PENDING));
  return true;
}

function downloadLink(url, title) {
  const link = Object.assign(document.createElement("a"), { className: "download", href: url, textContent: "Download" });
  link.download = "";
  const whose = Object.assign(document.createElement("span"), { className: "visually-hidden", textContent: ` ${title}` });
  link.append(whose);
  return link;
}

function showConnection(client) {
  const shown = document.getElementById("connection");
  const texts = {
    live: "live",
    connecting: shown.dataset.status === "connecting" ? "connecting" : "reconnecting",
    waiting: "reconnecting",
    closed: client.code === 4401 || client.code === 4403 ? "signed out" : "closed",
  };
  shown.textContent = texts[client.status];
  shown.dataset.status = client.status;
}

function announce({ state, title }) {
  if (state === "ready") say(`“${title}” is ready.`);
  if (state === "failed") say(`“${title}” failed.`);
}

function row(report) {
  return document.querySelector(`[data-report="${Number(report)}"]`);
}
