/**
 * Owns what an Event of Kubernetes is to us: something that happened to an object, for those who look at that object.
 *
 *   a part that notices -> KubeEvent -> status/events (deduplicates) -> source/api (writes)
 */

/** The object that an Event is about. */
export interface Regarding {
  readonly apiVersion: 'v1';
  readonly kind: 'Node' | 'Service';
  /** undefined for a Node. */
  readonly namespace: string | undefined;
  readonly name: string;
}

export interface KubeEvent {
  readonly type: 'Normal' | 'Warning';
  /** Why, as one word for machines: `Starting`. */
  readonly reason: string;
  /** What was done or tried, as one word: `StartKubeProxy`. */
  readonly action: string;
  readonly regarding: Regarding;
  /** One sentence for people; may be empty. */
  readonly note: string;
}

/** Takes Events without waiting and without failing: none of them is worth holding anything up. */
export type EventSink = (event: KubeEvent) => void;
