"use strict";
(function () {
	const frames = Array.from(document.querySelectorAll("#f>g"), g => ({
		g, x: +g.dataset.x, n: +g.dataset.n, rect: g.querySelector("rect"), text: g.querySelector("text"),
		name: g.querySelector("title").textContent.replace(/ \([^(]*\)$/, ""),
	}));
	if (!frames.length) return;
	const by = id => document.getElementById(id), all = frames[0], width = 1200;
	const fit = (name, w) => {
		const room = Math.floor((w - 6) / 6.7), runes = Array.from(name);
		return room < 3 ? "" : runes.length > room ? runes.slice(0, room - 1).join("") + "…" : name;
	};
	function zoom(to) {
		for (const f of frames) {
			const above = +f.rect.getAttribute("y") > +to.rect.getAttribute("y") || f === to;
			const around = above && f.x <= to.x && f.x + f.n >= to.x + to.n;
			const inside = !above && f.x >= to.x && f.x + f.n <= to.x + to.n;
			f.g.style.display = around || inside ? "" : "none";
			if (!around && !inside) continue;
			const x = around ? 0 : (f.x - to.x) / to.n * width, w = around ? width : f.n / to.n * width;
			f.rect.setAttribute("x", x);
			f.rect.setAttribute("width", Math.max(w - 0.3, 0.1));
			f.text.setAttribute("x", x + 3);
			f.text.textContent = fit(f.name, w);
		}
		by("r").toggleAttribute("hidden", to === all);
	}
	function search(text) {
		const hits = frames.filter(f => text && f.name.toLowerCase().includes(text.toLowerCase()));
		const found = new Set(hits);
		let sum = 0, end = -1;
		// A frame below another that was found is counted with it.
		for (const f of hits.sort((a, b) => a.x - b.x || b.n - a.n)) {
			if (f.x < end) continue;
			sum += f.n;
			end = f.x + f.n;
		}
		for (const f of frames) {
			f.g.classList.toggle("hit", found.has(f));
			f.g.classList.toggle("dim", text !== "" && !found.has(f));
		}
		by("m").textContent = text ? text + ": " + (100 * sum / all.n).toFixed(2) + "%" : "";
	}
	const ask = () => search(prompt("frames whose name has", "") || "");
	by("f").addEventListener("click", e => {
		const f = frames.find(f => f.g === e.target.closest("#f>g"));
		if (f) zoom(f);
	});
	by("r").addEventListener("click", () => zoom(all));
	by("s").addEventListener("click", ask);
	by("s").removeAttribute("hidden");
	document.addEventListener("keydown", e => {
		if (e.key === "Escape") { zoom(all); search(""); }
		if (e.key === "/") { e.preventDefault(); ask(); }
	});
})();
