// A word at the foot of the page that something has been done.
import { signal } from "@preact/signals";

const shown = signal("");
let timer: ReturnType<typeof setTimeout> | undefined;

/** Says text for some seconds. */
export function told(text: string): void {
  shown.value = text;
  clearTimeout(timer);
  timer = setTimeout(() => (shown.value = ""), 4000);
}

export const Toast = () => <div class="toast" role="status">{shown.value}</div>;
