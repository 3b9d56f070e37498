// The server's time, as far as answers tell it: ages are shown against the clock
// that wrote the points, not against a laptop's that is two minutes off.
import { signal } from "@preact/signals";

let ahead = 0; // server minus browser, in ms

/** Learns from the Date header of an answer, which counts whole seconds. */
export function learn(date: string | null): void {
  const at = date === null ? NaN : Date.parse(date);
  if (Number.isNaN(at)) return;
  const seen = at + 500 - Date.now();
  if (Math.abs(seen - ahead) > 1500) ahead = seen;
}

/** The server's time in Unix seconds, with a fraction. */
export const serverNow = (): number => (Date.now() + ahead) / 1000;

/** The same in whole seconds, as a signal that moves every second. */
export const now = signal(Math.floor(serverNow()));

/** Starts the second hand. It rests while nobody looks. */
export function tick(): void {
  const beat = () => {
    if (!document.hidden) now.value = Math.floor(serverNow());
  };
  setInterval(beat, 1000);
  document.addEventListener("visibilitychange", beat);
}
