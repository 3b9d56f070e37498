// One thing to fill in: its name, the control, and what is wrong with it.
import type { ComponentChildren } from "preact";

interface Props {
  label: string;
  error?: string | undefined;
  hint?: ComponentChildren;
  class?: string;
  children: ComponentChildren;
}

export function Field({ label, error, hint, class: name, children }: Props) {
  return (
    <label class={"labelled" + (name ? " " + name : "") + (error ? " wrong" : "")}>
      <span class="label">{label}</span>
      {children}
      {error ? <span class="said" role="alert">{error}</span> : hint ? <span class="hint">{hint}</span> : null}
    </label>
  );
}

/** What an event's control holds. */
export const valueOf = (e: Event): string => (e.currentTarget as HTMLInputElement).value;
export const checkedOf = (e: Event): boolean => (e.currentTarget as HTMLInputElement).checked;
