/** Browser. What comes by the clock: the digest at the foot of the page, and the reminders that the reader asked for. */

import { refresh, say } from "./parts.js";

export function followSchedules(client) {
  client.on("digest.ready", () => refresh("digest"));
  client.addEventListener("reset", () => refresh("digest"));
  if (!document.getElementById("reminders")) return; // no beat, no reminders
  client.on("reminder.due", ({ data }) => ring(data.payload));
  client.addEventListener("reset", () => refresh("reminders"));
  fillIn(document.getElementById("zone"), Intl.DateTimeFormat().resolvedOptions().timeZone);
  fillIn(document.getElementById("at"), inAMinute());
}

async function ring(reminder) {
  await refresh("reminders");
  if (!reminder) return; // taken back at the last moment
  document.querySelector(`[data-reminder="${Number(reminder.reminder)}"]`)?.classList.add("fresh");
  say(`Reminder: “${reminder.text}”`, "bell");
}

function fillIn(field, value) {
  field.value ||= value;
}

/** As the field writes it: the reader's own clock, without a zone. */
function inAMinute() {
  const now = new Date();
  return new Date(now.getTime() + 60_000 - now.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
