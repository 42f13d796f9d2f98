/** Browser. What the scripts of the page share: a part of it read anew, times as the reader has them, a line of news. */

/** Replace the element of this id by what the server has there now; return whether it could be had. */
export async function refresh(id) {
  try {
    const response = await fetch("/");
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const part = page.getElementById(id);
    if (!part) return false; // signed out meanwhile
    showLocalTimes(part);
    document.getElementById(id).replaceWith(part);
    return true;
  } catch {
    say("The page could not be read anew. Reload it to see what is new.");
    return false;
  }
}

/** The server writes times in its own zone; a reader has another, and knows which day it is. */
export function showLocalTimes(root) {
  const today = new Date().toDateString();
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    const day = moment.toDateString() === today ? {} : { day: "numeric", month: "short" };
    time.textContent = moment.toLocaleString(undefined, { ...day, hour: "numeric", minute: "2-digit" });
  }
}

export function say(text, id = "status") {
  document.getElementById(id).textContent = text;
}
