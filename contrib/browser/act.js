// What a reader does with a page, and some more: every event that has a handler attribute is
// sent to every element, every element is clicked and has the focus once. It runs in a world of
// its own, so that the page's scripts see the events and not this. The result is where to click
// with a real mouse, the innermost elements that can be seen, and where the links lead as the
// browser reads them.
(async () => {
	const maxElements = 3000, maxTime = 2000;
	const start = performance.now();
	const late = () => performance.now() - start > maxTime;
	const pause = ms => new Promise(done => setTimeout(done, ms));

	const elements = [];
	const collect = root => {
		for (const e of root.querySelectorAll('*')) {
			if (elements.length >= maxElements) return;
			elements.push(e);
			if (e.shadowRoot) collect(e.shadowRoot);
		}
	};
	collect(document);

	// A link with a URL that is none leads to a page of the browser itself, where nothing could
	// be seen any more.
	addEventListener('click', e => {
		for (const a of e.composedPath()) {
			const to = a.getAttribute?.('href') ?? a.getAttribute?.('xlink:href');
			if (to != null && !URL.canParse(to, document.baseURI)) e.preventDefault();
		}
	}, true);

	const of = (make, names) => names.split(' ').map(name => () => make(name));
	const both = {bubbles: true, cancelable: true, composed: true};
	const events = [
		...of(n => new PointerEvent(n, both), 'pointerover pointerenter pointermove pointerdown pointerup pointercancel pointerout pointerleave gotpointercapture lostpointercapture auxclick contextmenu'),
		...of(n => new MouseEvent(n, both), 'mouseover mouseenter mousemove mousedown mouseup mouseout mouseleave dblclick'),
		...of(n => new WheelEvent(n, both), 'wheel mousewheel'),
		...of(n => new KeyboardEvent(n, {...both, key: 'x'}), 'keydown keypress keyup'),
		...of(n => new DragEvent(n, both), 'drag dragstart dragenter dragover dragleave drop dragend'),
		...of(n => new FocusEvent(n, both), 'focusin focusout'),
		...of(n => new InputEvent(n, both), 'beforeinput input'),
		...of(n => new AnimationEvent(n, both), 'animationstart animationiteration animationend webkitAnimationStart webkitAnimationEnd'),
		...of(n => new TransitionEvent(n, both), 'transitionrun transitionstart transitionend webkitTransitionEnd'),
		...of(n => new Event(n, both), 'change select selectstart invalid reset search toggle beforetoggle close cancel copy cut paste beforecopy beforecut beforepaste scroll scrollend resize play playing pause ended timeupdate loadstart loadeddata loadedmetadata progress canplay volumechange cuechange slotchange securitypolicyviolation beginEvent endEvent repeatEvent begin end repeat touchstart touchmove touchend touchcancel beforematch fullscreenchange'),
	];
	for (const e of elements) {
		if (late()) break;
		for (const make of events) e.dispatchEvent(make());
	}
	for (const e of elements) {
		if (late()) break;
		e.focus?.();
		e.blur?.();
		if (e.localName === 'details') e.open = true;
		if (e.localName === 'svg' && e.setCurrentTime) e.setCurrentTime(100);
		if (e.localName === 'marquee') e.dispatchEvent(new Event('start'));
	}
	for (const n of 'resize scroll hashchange popstate message online offline storage beforeprint afterprint pagehide pageshow languagechange'.split(' ')) {
		window.dispatchEvent(new Event(n));
	}
	window.scrollTo(0, document.documentElement?.scrollHeight ?? 0);
	window.scrollTo(0, 0);
	await pause(10);

	const points = [];
	for (const e of elements) {
		if (points.length >= 50 || e.firstElementChild || !e.getBoundingClientRect) continue;
		const r = e.getBoundingClientRect();
		if (r.width > 0 && r.height > 0 && r.right > 0 && r.bottom > 0 && r.left < innerWidth && r.top < innerHeight) {
			points.push([Math.min(r.left + r.width / 2, innerWidth - 1), Math.min(r.top + r.height / 2, innerHeight - 1)]);
		}
	}
	for (const e of elements) {
		if (late()) break;
		e.dispatchEvent(new MouseEvent('click', both)); // as of SVG, which has no click()
	}
	await pause(10);
	const resolve = to => {
		try {
			return new URL(to, document.baseURI).href;
		} catch {
			return ''; // leads nowhere
		}
	};
	const targets = elements.map(e => e.href?.animVal ?? e.href).filter(h => typeof h === 'string').map(resolve).filter(h => h !== '');
	return {points, targets: [...new Set(targets)].slice(0, 200)};
})()
