/** Owns label and field selectors, as far as a proxy uses them: `!key`, `key`, `key=value`, `metadata.name=value`. */
import type { KubeJson } from './history.js';

export function selects(query: URLSearchParams, { metadata }: KubeJson): boolean {
  const labels = metadata.labels ?? {};
  const label = (term: string) => {
    if (term.startsWith('!')) return !Object.hasOwn(labels, term.slice(1));
    const [key = '', value] = term.split('=');
    return value === undefined ? Object.hasOwn(labels, key) : labels[key] === value;
  };
  const field = (term: string) => term === `metadata.name=${metadata.name}`;
  return terms(query.get('labelSelector')).every(label) && terms(query.get('fieldSelector')).every(field);
}

function terms(text: string | null): readonly string[] {
  return (text ?? '').split(',').filter((term) => term !== '');
}
