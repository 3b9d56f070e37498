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

interface TextProps {
  class: string;
  name: string;
  value: string;
  placeholder?: string | undefined;
  /** Is not shown, and not offered from what the browser keeps. */
  secret?: boolean;
  first?: boolean;
  onText(s: string): void;
}

/** A line of text, or a secret. */
export function Text({ secret, first, onText, ...rest }: TextProps) {
  const all = { ...rest, spellcheck: false, onInput: (e: Event) => onText(valueOf(e)), ...(first ? { "data-first": true } : {}) };
  return secret ? <input type="password" autocomplete="new-password" {...all} /> : <input type="text" autocomplete="off" {...all} />;
}
